"""What a run shows: panel, plain lines, summary, log; at the width of the terminal."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import distgan
from distgan.cli import pictures
from distgan.cli.terminal import Terminal
from distgan.config.settings import parse_count, short_count
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.evaluate.card import Card
from distgan.evaluate.evaluation import Evaluation
from distgan.evaluate.measures import Value
from distgan.launch.start import Plan, Result, further
from distgan.runs import records
from distgan.runs.events import PREPARING
from distgan.runs.log import LOG, RunLog
from distgan.storage.storage import Storage
from distgan.training.control import Status

SMALL = {
    **{"batch": 64, "latent": 4, "output.log_every": 512},
    **{f"{side}.network.widths": "8" for side in ("generator", "discriminator")},
}
ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|_G[^\x1b]*\x1b\\|\]1337[^\x07]*\x07|P[^\x1b]*\x1b\\)")


def configure(**changes: Any) -> Any:
    return distgan.override(distgan.recipe("mnist-mlp"), {**SMALL, **changes})


def plan(folder: Path, images: int = 1000, **changes: Any) -> Plan:
    config = configure(images=images, batch=128, **changes)
    place = Storage(str(folder))
    return Plan(config, place, distgan.open_images("mnist"), 0, None, "cpu")


def screen_of(width: int) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=width, height=40, color_system=None), out


RECORD = {
    **{"images": 896, "d_loss": 1.386, "g_loss": 0.693, "d_real": 0.5, "d_fake": 0.5},
    **{"d_grad_norm": 123.456, "g_grad_norm": 0.001, "augment_p": 0.123, "health": "healthy"},
}
MEASURED = {
    "images": 896,
    "values": {
        "frechet": {"value": 12.344, "best": 11.0, "best_at": 512},
        "density": {"value": 0.5, "best": 0.5, "best_at": 896},
    },
}


@pytest.mark.parametrize("width", [80, 120])
def test_the_panel_fits_and_stays(tmp_path: Path, width: int) -> None:
    console, out = screen_of(width)
    shown = plan(tmp_path, 1_000_000)
    with Terminal(console) as terminal:
        terminal.start(shown)
        terminal.note("starting Ray", PREPARING)
        terminal.progress(Status(0))
        terminal.progress(Status(123_456_789, RECORD, measured=MEASURED))
        time.sleep(0.3)
    said = ESCAPE.sub("", out.getvalue())
    last = said[said.rindex("━") :] if "━" in said else said
    assert "123,456,789 of 1,000,064 images" in last
    assert "D loss 1.386   G loss 0.693   D(x) 0.500   D(G(z)) 0.500" in last
    assert "frechet 12.34, best 11 at 512 images (lower is better)" in last
    assert "density 0.5, best so far (higher is better)" in last
    assert max(len(line) for line in re.split(r"[\r\n]", said)) <= width
    # Nothing is erased after it was drawn for the last time.
    assert "\x1b[2K" not in out.getvalue()[out.getvalue().rindex("best so far") :]


def test_what_is_waited_for(tmp_path: Path) -> None:
    console, out = screen_of(80)
    with Terminal(console) as terminal:
        terminal.start(plan(tmp_path))
        terminal.note("starting Ray", PREPARING)
        time.sleep(0.3)
        terminal.progress(Status(0))
        time.sleep(0.3)
    assert "starting Ray, 0 s" in out.getvalue()
    assert "waiting for the first update, 0 s" in out.getvalue()
    plain = io.StringIO()
    Terminal(Console(file=plain)).note("starting Ray", PREPARING)
    assert plain.getvalue() == "starting Ray\n"


def test_shares_are_of_whole_batches(tmp_path: Path) -> None:
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=200))
    terminal.start(plan(tmp_path, 1000))
    terminal.progress(Status(1024, RECORD))
    assert "1,024 of 1,024 images (100%)" in out.getvalue()


def test_values_in_plain_lines_and_in_the_summary(tmp_path: Path) -> None:
    out = io.StringIO()
    with Terminal(Console(file=out, width=200)) as terminal:
        terminal.start(plan(tmp_path / "run"))
        terminal.progress(Status(896, RECORD, measured=MEASURED))
        terminal.progress(Status(1024, RECORD, measured=MEASURED))
        terminal.finish(Result(str(tmp_path / "run"), 1024, "", 3.0))
    said = out.getvalue()
    line = "frechet 12.34, best 11 at 512 images (lower is better)"
    # Once where it was measured, and once at the end.
    assert said.count("at 896 images: frechet 12.34, best 11 (lower is better)\n") == 1
    assert said.count(f"  {line[:7]}    {line[8:]}") == 1
    for verb in ("report", "evaluate", "sample"):
        assert re.search(rf"  {verb} +distgan {verb} .*run\n", said)


def test_the_summary_of_a_usual_run_fits_80_columns() -> None:
    out = io.StringIO()
    where = "runs/mnist-mlp-20260101-120000"
    terminal = Terminal(Console(file=out, width=80))
    terminal.finish(Result(where, 1_000_064, "", 3.0))
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_the_best_is_the_best_of_the_same_card_so_far() -> None:
    card = Card("mnist", "h", "r", True, "mnist", "c", "train", 1, 0, 1, "ema", 0)
    other = {"key": "other"}

    def entry(images: int, value: float, of: dict[str, Any]) -> dict[str, Any]:
        return {"images": images, "card": of, "values": {"precision": {"value": value}}}

    mine = card.to_dict()
    entries = [
        *(entry(100, 0.6, mine), entry(200, 0.7, mine), entry(300, 0.9, other)),
        *(entry(250, 0.7, mine), entry(900, 0.8, mine)),
    ]
    found = Evaluation(300, 1.0, card, {"precision": Value(0.5), "modes": Value(10.0)})
    assert evaluation.standing(entries, found) == {
        "images": 300,
        "values": {
            "precision": {"value": 0.5, "best": 0.7, "best_at": 200},
            "modes": {"value": 10},
        },
    }


class Watch:
    def __init__(self) -> None:
        self.seen: list[Status] = []

    def start(self, plan: Plan) -> None: ...
    def note(self, text: str, kind: str = "") -> None: ...
    def progress(self, status: Status) -> None:
        self.seen.append(status)


def test_losses_are_shown_after_the_first_update_and_records_stay(tmp_path: Path) -> None:
    watch = Watch()
    settings = {"images": 1024, "evaluate.every": 512, "evaluate.num": 64}
    settings |= {"evaluate.metrics": "frechet", "output.sample_every": 512}
    distgan.train(configure(**settings), out=str(tmp_path / "run"), workers=0, display=watch)
    first = next(status for status in watch.seen if status.record)
    assert first.images_seen == 64
    assert first.record["interim"]
    assert first.record["d_loss"] > 0
    kept = records.read(Storage(str(tmp_path / "run")))
    assert [record["images"] for record in kept] == [512, 1024]
    assert not any("interim" in record for record in kept)
    last = watch.seen[-1]
    assert (last.images_seen, last.sampled, last.measured["images"]) == (1024, 1024, 1024)
    entries = evaluation.read(Storage(str(tmp_path / "run")))
    values = [entry["values"]["frechet"]["value"] for entry in entries]
    assert last.measured["values"]["frechet"] == {
        "value": values[-1],
        "best": min(values),
        "best_at": (512, 1024)[int(np.argmin(values))],
    }


def test_the_log_of_a_run_goes_on(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    distgan.train(configure(images=512), out=run, workers=0)
    log = Path(run, LOG)
    before = log.read_text()
    with pytest.raises(UserError, match="is complete at 512 images") as complete:
        distgan.resume(run, workers=0)
    assert log.read_text() == before
    suggested = str(complete.value).split("--images ")[-1]
    distgan.resume(run, {"images": suggested}, workers=0)
    whole = log.read_text()
    assert whole.startswith(before)
    lines = whole[len(before) :].splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S", line) for line in lines)
    assert "going on from 512 images" in lines[1]
    assert "done: 1,024 images in" in lines[-1]
    assert "images (100%)  D loss " in lines[-2]


def test_the_log_of_a_start_that_failed_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise UserError("no")

    monkeypatch.setattr("distgan.launch.in_process.run_in_process", fails)
    with pytest.raises(UserError, match="no"):
        distgan.train(configure(), out=str(tmp_path / "run"), workers=0)
    assert list(tmp_path.iterdir()) == []


def test_a_log_elsewhere_keeps_what_it_held(tmp_path: Path) -> None:
    from pyarrow import fs

    # As on an object store: there is no appending.
    away = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    for line in ("one", "two\n[2J\x1b[2J"):
        log = RunLog(Storage("run", away))
        log.add(line)
        log.close()
    said = (tmp_path / "run" / LOG).read_text().splitlines()
    assert [line[21:] for line in said] == ["one", "two [2J\ufffd[2J"]


def test_a_log_of_another_owner_is_left_alone(tmp_path: Path) -> None:
    place = Storage(str(tmp_path))
    place.write("owner.json", '{"id": "theirs"}')
    place.write(LOG, "theirs\n")
    log = RunLog(Storage(str(tmp_path), owner="mine"))
    log.add("mine")
    log.close()
    assert place.read_text(LOG) == "theirs\n"


@pytest.mark.parametrize("seen", [0, 64, 640, 2560, 8_192, 30_016, 1_000_064, 123_456_789])
def test_the_suggested_end_goes_on(seen: int) -> None:
    assert parse_count(further(seen)) > seen


def test_short_counts_are_read_as_they_are_meant() -> None:
    for number in [*range(1, 3000, 7), *(int(1.07**k) for k in range(1, 300))]:
        assert parse_count(short_count(number)) == pytest.approx(number, rel=0.051)
    assert [short_count(n) for n in (900, 5120, 60_032, 2_000_128)] == ["900", "5.1k", "60k", "2M"]


ENVIRONMENTS = [
    ({"TERM": "xterm-kitty"}, "kitty"),
    ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
    ({"TERM": "foot"}, "sixel"),
    ({"TERM": "xterm-256color"}, ""),
    ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, ""),
    ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("environment", "kind"), ENVIRONMENTS)
def test_terminals_that_show_pictures(environment: dict[str, str], kind: str) -> None:
    assert pictures.protocol(environment) == kind


def png_of(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def printed(png: bytes, kind: str) -> str:
    console, out = screen_of(80)
    console.print(pictures.Picture(png, kind), soft_wrap=True)
    return out.getvalue()


def test_pictures_arrive_whole() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (100, 90, 3), dtype=np.uint8)
    png = png_of(noise)
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", printed(png, "kitty"))
    assert len(parts) > 1
    assert parts[0][0] == "a=T,f=100,r=16,q=2,m=1"
    assert [keys for keys, _ in parts[1:]] == ["m=1"] * (len(parts) - 2) + ["m=0"]
    assert max(len(chunk) for _, chunk in parts) <= 4096
    assert base64.b64decode("".join(chunk for _, chunk in parts)) == png
    said = printed(png, "iterm")
    assert said.startswith(f"\x1b]1337;File=inline=1;size={len(png)};")
    assert base64.b64decode(said[said.index(":") + 1 : said.index("\x07")]) == png


def sixels(said: str) -> Iterator[tuple[str, list[int]]]:
    body = said[said.index("q") + 1 : said.index("\x1b\\")]
    for char, numbers in re.findall(r"([\"#!$\-?-~])([0-9;]*)", body):
        yield char, [int(n) for n in numbers.split(";") if n]


def test_sixels_are_the_picture() -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
    pixels = colours[np.random.default_rng(0).integers(0, 4, (16, 20))]
    pixels[3] = colours[1]
    palette, shown = {}, np.zeros_like(pixels)
    x = top = colour = 0
    count = 1
    for char, numbers in sixels(printed(png_of(pixels), "sixel")):
        if char == '"':
            assert numbers == [1, 1, 20, 16]
        elif char == "#" and len(numbers) == 5:
            palette[numbers[0]] = np.array(numbers[2:]) * 255 // 100
        elif char == "#":
            (colour,) = numbers
        elif char == "!":
            (count,) = numbers
        elif char in "$-":
            x, top = 0, top + 6 * (char == "-")
        else:
            for row in range(6):
                if (ord(char) - 63) >> row & 1:
                    shown[top + row, x : x + count] = palette[colour]
            x, count = x + count, 1
    np.testing.assert_array_equal(shown, pixels)


@pytest.mark.parametrize(("wanted", "kind"), [(True, "kitty"), (False, "kitty"), (True, "")])
def test_the_newest_grid_is_shown_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool, kind: str
) -> None:
    monkeypatch.setattr(pictures, "protocol", lambda environment: kind)
    monkeypatch.setattr("distgan.cli.terminal.protocol", lambda environment: kind)
    shown = plan(tmp_path)
    png = png_of(np.zeros((8, 8, 3), np.uint8))
    shown.storage.write("samples/images-000000000256.png", png)
    for terminal_, expected in ((True, wanted and bool(kind)), (False, False)):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal_, width=80)
        with Terminal(console, pictures=wanted) as terminal:
            terminal.start(shown)
            terminal.progress(Status(256, RECORD, sampled=256))
            terminal.finish(Result(str(tmp_path), 256, "", 1.0))
        found = base64.standard_b64encode(png).decode() in out.getvalue()
        assert found == expected
        # A grid that is gone ends nothing.
        with Terminal(console, pictures=wanted) as terminal:
            terminal.start(shown)
            terminal.progress(Status(512, RECORD, sampled=512))
