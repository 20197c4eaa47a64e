"""What reaches a terminal: foreign text as it is, and nothing that is obeyed or cannot be shown."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table

from distgan.cli import console, main
from distgan.cli.terminal import Terminal

CLEAR, RED = "\x1b[2J", "\x1b[31m"
CLASSES = ("cats [/x]", f"{CLEAR}dogs", "b\udce9", "фото")
"""Names of class folders: markup of rich, a terminal's, no UTF-8, not in ASCII."""


def photos(folder: Path, classes: tuple[str, ...] = ("a", "b")) -> Path:
    draw = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            pixels = draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", ["set [old]", "set [/x]", "[bold]set[/bold]", ":smile: it's"])
def test_printed_commands_are_read_by_a_shell_as_they_were_meant(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos [in]")
    assert main(["data", "prepare", "photos [in]", "--out", name, "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert f" in {name}\n" in said
    asked = re.findall(r"distgan (data info .*|train \S+ --data .*)", said)
    assert len(asked) == 2
    # A shell, independent of how the words were quoted, takes them apart.
    words = [_by_shell(line)[-1] for line in asked]
    assert words == [name, name]
    assert main(["data", "info", name]) == 0
    assert f"picture     {name.split(chr(47))[-1]}-info.png\n" in capsys.readouterr().out


def _by_shell(line: str) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, timeout=10
    )
    return [word.decode(errors="surrogateescape") for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize(
    "word", ["plain/path", "a b", "it's", "$(id)", f"{CLEAR}x", "a\nb\tc", "b\udce9d", "фото", ""]
)
def test_a_quoted_word_can_be_shown_and_is_the_same_to_a_shell(word: str) -> None:
    shown = console.quoted(word)
    assert not re.search(r"[\x00-\x1f\x7f]", shown)
    shown.encode()
    assert _by_shell(shown) == [word]


def test_tables_show_names_as_they_are() -> None:
    out = io.StringIO()
    table = Table("[red]head[/red]")
    for name in CLASSES:
        table.add_row(name)
    screen = console.screen()
    screen.file = out
    screen.print(table)
    screen.print(f"one [/x] {CLEAR} {CLASSES[2]}")
    said = out.getvalue()
    assert "[red]head[/red]" in said
    assert "cats [/x]" in said
    assert "\ufffd[2Jdogs" in said
    assert "фото" in said
    assert not re.search(r"[\x1b\udc80-\udcff]", said)


def test_lines_of_a_run_hold_no_foreign_control(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    # A console that reads markup: what is shown must not depend on it.
    Terminal(Console(file=out, force_terminal=True, width=200)).note(f"{RED}a[/x] b\udce9")
    assert "\ufffd[31ma[/x] b\ufffd" in out.getvalue()
    console.say(f"{CLEAR}[/x]", error=True)
    assert capsys.readouterr().err == "\ufffd[2J[/x]\n"


def test_a_terminal_that_lacks_the_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", ("фото", "b"))
    out = io.BytesIO()
    # As under PYTHONIOENCODING=ascii.
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, "ascii"))
    assert main(["data", "prepare", "photos", "--out", "набор", "--workers", "0"]) == 0
    assert main(["data", "info", "набор"]) == 0
    assert (tmp_path / "набор" / "manifest.json").exists()
    said = out.getvalue().decode("ascii")
    assert "images of 8x8x3 in ?????" in said
    assert "????" in said


def test_a_mistake_in_names_of_any_kind_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (*CLASSES, "a\nb", "x" * 1_000_000):
        for words in (["sample", name], ["data", "info", name], ["train", name], [f"--{name}"]):
            assert main(words) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert not re.search(r"[\x1b\udc80-\udcff]", said)
            assert len(said) < 2_000
