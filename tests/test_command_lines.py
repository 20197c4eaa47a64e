"""Command lines as nobody should write them: exit status 0 or 2, one line, and no exception."""

from __future__ import annotations

import errno
import io
import os
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

import distgan.launch.ray.cluster
from distgan.cli import boundary, main, recipes
from distgan.config.settings import nearest
from distgan.errors import UserError, listed
from distgan.launch.ray.address import check_address

ODD = (
    *("", "0", "-1", "1e300", "nan", "inf", "-inf", "9" * 5000, "1" + "0" * 400, "٣", "²", "1_0"),
    *("0x0", "1e9", "1e-400", "x" * 100_000, "a\0b", "b\udce9", "/dev/null", "/dev/null/x", "."),
    *("n" * 300, "/" + "d/" * 3000, "[/b]", "\x1b[31m", "~nobody/x", "file:///", "s3://", "://"),
    *("-", "--", "{}", "1:2:3", "..", "*", "a?b", "None", "true", "1,2", "=", "a\nb"),
)
TINY = (
    *("--workers", "0", "--images", "64", "--batch", "64", "--data", "set"),
    *("--generator.network.widths", "8", "--discriminator.network.widths", "8"),
)
JOB = ("--", "train", "--out", "/shared/one")
NOBODY = ("--address", "http://127.0.0.1:9")

OPTIONS: dict[tuple[str, ...], str] = {
    ("sample", "run"): "num label seed seeds out each npz film fps seconds weights",
    ("report", "run"): "out",
    ("show", "mnist-mlp"): "batch images loss latent x generator generator.network.widths seed",
    ("plan", "mnist-mlp", "--gpu", "h100"): (
        "gpu workers nodes bandwidth latency price image latent"
    ),
    ("data", "info", "set"): "picture",
    ("data", "prepare", "photos", "--out", "new", "--workers", "0"): (
        "out split size crop filter channels subset validation seed shard-size store skip-bad "
        "workers address"
    ),
    ("tune", "mnist-mlp", "--data", "set"): (
        "metric samples scheduler search max-images rung reduction num rung-num features "
        "concurrent workers-per-trial time-limit confirm retries seed space resume address"
    ),
    ("train", "mnist-mlp", *TINY): (
        "workers batch seed skip-bad resume config device max-failures address loss generator"
    ),
    ("evaluate", "run", "--metrics", "frechet"): "metrics weights seed workers device",
}
"""Options of every verb that has any, after the words of a command that has all else."""

PLACES: dict[str, Callable[[str], list[str]]] = {
    "verb": lambda odd: [odd],
    "sample": lambda odd: ["sample", odd],
    "report": lambda odd: ["report", "run", odd],
    "evaluate": lambda odd: ["evaluate", odd],
    "data info": lambda odd: ["data", "info", odd],
    "data prepare": lambda odd: ["data", "prepare", odd, "--out", "new", "--workers", "0"],
    "train": lambda odd: ["train", odd, *TINY],
    "tune": lambda odd: ["tune", odd],
    "plan": lambda odd: ["plan", odd],
    "show": lambda odd: ["show", odd],
    "bench": lambda odd: ["bench", odd, "--list"],
    "recipes": lambda odd: ["recipes", odd],
    "jobs": lambda odd: ["jobs", "--address", odd],
    "status": lambda odd: ["status", odd, *NOBODY],
    "submit a": lambda odd: ["submit", "--env", odd, *NOBODY, *JOB],
    "submit b": lambda odd: ["submit", "--name", odd, *NOBODY, *JOB],
    "submit c": lambda odd: ["submit", *NOBODY, "--", "train", "--out", odd],
    "submit d": lambda odd: ["submit", "--", odd],
}
"""Where else a word may be odd."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photos, a set made of them, and a run."""
    folder = tmp_path_factory.mktemp("there")
    (folder / "photos").mkdir()
    draw = np.random.default_rng(0)
    for number in range(64):
        pixels = draw.integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    before = os.getcwd()
    os.chdir(folder)
    assert main(["data", "prepare", "photos", "--out", "set", "--workers", "0"]) == 0
    assert main(["train", "mnist-mlp", *TINY, "--out", "run"]) == 0
    yield folder
    os.chdir(before)


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never:
        def __init__(self, *_: object, **__: object) -> None:
            raise UserError("a cluster would start here")

    monkeypatch.setattr(distgan.launch.ray.cluster, "Cluster", Never)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)


def answered(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command, and see that it succeeds or that one line tells why not."""
    try:
        status = main(words)
    except SystemExit as end:  # Of --help and --version.
        status = int(end.code or 0)
    said = capsys.readouterr().err
    assert status in (0, 2), (status, said[:600])
    if status == 2:
        assert said.startswith("distgan: ")
        assert said.count("\n") == 1
        assert len(said) < 2_000
        assert not re.search(r"[\x1b\udc80-\udcff]", said)


@pytest.mark.parametrize("verb", OPTIONS, ids=lambda words: " ".join(words[:2]))
def test_odd_values_of_options(
    verb: tuple[str, ...], there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As many of each verb, however many options it has; by its seed always the same.
    every = [f"--{option}={odd}" for option in OPTIONS[verb].split() for odd in ODD]
    most = {"report": 3, "train": 8, "evaluate": 8}.get(verb[0], 25)
    for word in random.Random(verb[0]).sample(every, most):
        own = ["--out", f"runs/{random.random()}"] if verb[0] == "train" else []
        answered([*verb, *own, word], capsys)


@pytest.mark.parametrize("place", PLACES)
def test_odd_words_in_other_places(
    place: str, there: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # By file descriptor: `bench` answers from a process of its own.
    few = place == "bench" or place.startswith("submit")
    for odd in random.Random(place).sample(ODD, 8 if few else 16):
        answered(PLACES[place](odd), capfd)


@pytest.mark.parametrize(
    "verb", ["sample run --out", "report run --out", "data info set --picture"]
)
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "is empty; "),
        ("photos", "is a folder; name a file"),
        ("new/", "is a folder; name a file"),
        ("/dev/null", "is no regular file"),
        ("pipe", "is no regular file"),
        ("photos/0.png/x.png", "0.png is no folder"),
        ("n" * 300, "File name too long"),
        ("round", "Too many levels of symbolic links"),
    ],
)
def test_where_nothing_can_be_written_is_known_before_the_work(
    verb: str, path: str, expected: str, there: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def work(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the work was begun")

    monkeypatch.setattr("distgan.runs.export.load_generator", work)
    monkeypatch.setattr("distgan.report.write_report", work)
    monkeypatch.setattr("distgan.data.info.inform", work)
    if not (there / "pipe").exists():
        os.mkfifo(there / "pipe")
        (there / "round").symlink_to("round")
    assert main([*verb.split(), path]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert verb.split()[-1] in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file"),
        ("folder", "is a folder"),
        ("pipe", "is no regular file"),
        (b"\xff\xfe", "is no text in UTF-8"),
        (bytes(2**24 + 1), "has 16 MiB, more than"),
    ],
    ids=["missing", "folder", "pipe", "binary", "large"],
)
def test_configurations_that_are_none(
    content: object, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml?x=1"
    if content == "folder":
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    assert main(["train", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"--config {path}: " in said
    assert expected in said


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:99999", "127.0.0.1:" + "9" * 5000, "x" * 300 + ":1", "b\udce9:1", "a..b:1"],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UserError, match="--address"):
        check_address(address)


class Panic(BaseException):
    """As a library written in Rust raises."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TypeError("two\nlines"), "TypeError: two"),
        (MemoryError(), "memory ran out"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (Panic("a [/x] \x1b[2J"), "Panic: a [/x] \ufffd[2J"),
        (OSError(errno.EINVAL, "odd", "some file"), "some file"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_is_told_in_two_lines_and_written_down(
    error: BaseException, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(recipes, "run", fail)
    assert main(["recipes"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("distgan: `distgan recipes` failed: ")
    assert expected in said[0]
    (file,) = tmp_path.iterdir()
    assert str(file) in said[1]
    report = file.read_text()
    assert "Traceback" in report
    assert f"distgan {distgan.__version__}, Python" in report
    assert not file.stat().st_mode & 0o077, "for the user's eyes only"
    monkeypatch.setenv(boundary.DEBUG, "1")
    assert main(["recipes"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.EACCES, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG])
def test_what_a_system_refuses_is_a_mistake(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr(recipes, "run", fail)
    assert main(["recipes"]) == 2
    assert capsys.readouterr().err == f"distgan: some/file: {os.strerror(number)}\n"


def test_reports_do_not_hold_what_env_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("distgan.jobs.submit", lambda *_, **__: 1 / 0)
    for env in (["--env", "KEY=abracadabra"], ["--env=KEY=abracadabra"]):
        assert main(["submit", *env, *JOB]) == 1
    written = "".join(file.read_text() for file in tmp_path.iterdir())
    assert "KEY" in written
    assert "abracadabra" not in written + capsys.readouterr().err


class _Full(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_behind_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = _Full()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(full)))
    assert main(["recipes"]) == 2
    assert capsys.readouterr().err == f"distgan: {os.strerror(errno.ENOSPC)}\n"
    monkeypatch.setattr(full, "write", len)


def test_words_are_bounded() -> None:
    assert nearest("mnist-mpl", ["mnist-mlp"]) == ", did you mean mnist-mlp?"
    assert nearest("mnist-mpl" * 100_000, ["mnist-mlp"]) == ""
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(1_000_000), most=2) == "0, 1 and 999,998 more"
    line = boundary.one_line("a" * 10_000 + "\nremedy")
    assert len(line) < 1_600
    assert line.endswith("remedy")
