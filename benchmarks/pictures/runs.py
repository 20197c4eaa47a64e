"""Pictures of real runs: digits over time, the terminal, the report, a restart, a set."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path

from PIL import Image
from rich.console import Console, Group, RenderableType
from rich.terminal_theme import MONOKAI
from rich.text import Text

import distgan
from benchmarks.pictures.charts import restart
from distgan.cli.console import Part, text
from distgan.cli.terminal import Terminal
from distgan.data.info import inform
from distgan.report import write_report
from distgan.runs import events, records
from distgan.runs.captions import underlined
from distgan.storage.storage import Storage
from distgan.training.control import Status
from tests.browser import Browser
from tests.test_resume import workers_of

_GRID, _ROWS, _COLUMNS = 10, 2, 13
"""Rows of a run's grid of samples; rows and columns of the strip that is made of its first ones."""
_GRAYS = 12
_GRIDS_EVERY = 2_500
_FEWER_FROM = 20_000
"""Images from which only every tenth grid is shown: most is learnt before."""
_FRAMES_A_SECOND, _HOLD = 4, 3
_WIDTH = 84
"""Columns of the terminal; the fewer, the larger the letters on a phone."""


def trained(folder: Path) -> Path:
    """The default run, with a grid of samples often, and values of metrics; about a minute."""
    changes = {"output.sample_every": _GRIDS_EVERY, "evaluate.every": 50_000}
    config = distgan.override(distgan.recipe("mnist-mlp"), changes)
    return Path(distgan.train(config, out=str(folder / "mnist-mlp"), workers=0).path)


def digits(run: Path) -> bytes:
    """An animated WEBP of the same latents while the run goes on."""
    frames = []
    for file in sorted((run / "samples").glob("images-*.png")):
        images = int(file.stem.rpartition("-")[2])
        last = images >= distgan.recipe("mnist-mlp").images
        if last or images < _FEWER_FROM or (images // _GRIDS_EVERY) % 10 == 0:
            frames.append(underlined(_strip(Image.open(file)), f"{images:,} images"))
    return _film(frames)


def _strip(grid: Image.Image) -> Image.Image:
    """The first images of a square grid of `_GRID` rows, in wider rows and few grays."""
    side = round((grid.width + 1) / _GRID)
    strip = Image.new("L", (side * _COLUMNS - 2, side * _ROWS - 2), 96)
    for number in range(_ROWS * _COLUMNS):
        left, top = number % _GRID * side, number // _GRID * side
        one = grid.convert("L").crop((left, top, left + side - 2, top + side - 2))
        strip.paste(one, (number % _COLUMNS * side, number // _COLUMNS * side))
    return strip


def _film(frames: list[Image.Image]) -> bytes:
    # Without loss in a few grays is smaller than with loss: enlarged pixels have sharp edges.
    few = [frame.quantize(_GRAYS).convert("RGB") for frame in frames]
    times = [1000 // _FRAMES_A_SECOND] * (len(few) - 1) + [1000 * _HOLD]
    buffer = BytesIO()
    how = {"lossless": True, "method": 4, "duration": times, "loop": 0}
    few[0].save(buffer, "WEBP", save_all=True, append_images=few[1:], **how)
    return buffer.getvalue()


class _Watched(Terminal):
    """A run's display that keeps its lines, and its panel at two thirds of the way."""

    def __init__(self) -> None:
        console = Console(file=StringIO(), force_terminal=True, width=_WIDTH)
        super().__init__(console, pictures=False)
        self.lines: list[Text] = []
        self.panel: RenderableType = ""
        self._kept = 0

    def progress(self, status: Status) -> None:
        super().progress(status)
        assert self._progress is not None
        if status.record and status.images_seen <= self._progress.total * 2 // 3:
            self.panel = self._panel()
            self._kept = len(self.lines)

    def _say(self, *parts: Part) -> None:
        self.lines.append(text(*parts))

    def shown(self) -> Group:
        """What stands in the terminal then."""
        return Group(*self.lines[: self._kept], "", self.panel)


_FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" class="rich-terminal" width="{width}" \
height="{height}" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 17px; font-weight: 600; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" \
height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own frame for an SVG, with fonts of the reader's machine in place of downloaded ones."""


def terminal(folder: Path) -> bytes:
    """A run in a terminal, two thirds of the way through; about a minute."""
    config = distgan.override(distgan.recipe("mnist-mlp"), {"evaluate.every": 50_000})
    before = Path.cwd()
    os.chdir(folder)
    try:
        with _Watched() as shown:
            distgan.train(config, workers=0, display=shown)
    finally:
        os.chdir(before)
    console = Console(file=StringIO(), record=True, width=_WIDTH, force_terminal=True)
    console.print(Text("$ distgan train --workers 0 --evaluate.every 50k", "bold"))
    console.print(shown.shown())
    return console.export_svg(
        title="distgan train", theme=MONOKAI, code_format=_FRAME, unique_id="terminal"
    ).encode()


def report(run: Path) -> bytes:
    """The top of a run's report in a browser, as a PNG."""
    with tempfile.TemporaryDirectory() as folder:
        page = write_report([str(run)], str(Path(folder, "report.html")))
        with Browser(Path(folder, "profile")) as browser:
            browser.show(1000, 860)
            browser.open(Path(page))
            shot = Path(folder, "report.png")
            browser.screenshot(shot)
            # A palette: the page has few colours, and the file is a third as large.
            buffer = BytesIO()
            Image.open(shot).convert("RGB").quantize(128).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data() -> bytes:
    """What `distgan data info mnist` draws."""
    buffer = BytesIO()
    drawn = Image.open(BytesIO(inform("mnist").picture)).convert("RGB")
    drawn.quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def faults(folder: Path) -> bytes:
    """A run on two workers, one of which is killed, as a chart; about two minutes."""
    run, total = folder / "killed", 120_000
    words = ["train", "--workers", "2", "--images", str(total), "--out", str(run)]
    words += ["--output.log_every", "1000", "--output.checkpoint_every", "20000"]
    process = subprocess.Popen([sys.executable, "-m", "distgan", *words])
    try:
        points, killed = _watch(process, run, total * 55 // 100)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    happened = [event["text"] for event in events.read(Storage(run))]
    (folder / "points.json").write_text(json.dumps([points, killed]))
    return restart(points, killed, happened[:3], total).encode()


def _watch(
    process: subprocess.Popen[bytes], run: Path, kill_at: int
) -> tuple[list[tuple[float, int]], tuple[float, int]]:
    """Seconds and images seen of a run from its first record to its end, and of the kill."""
    points: list[tuple[float, int]] = []
    killed: tuple[float, int] | None = None
    start = 0.0
    while process.poll() is None:
        found = records.read(Storage(run)) if (run / records.METRICS).exists() else []
        seen, now = (int(found[-1]["images"]) if found else 0), time.monotonic()
        if seen and not start:
            start = now
        if start and (not points or seen != points[-1][1]):
            if points:
                points.append((now - start, points[-1][1]) if seen < points[-1][1] else points[-1])
            points.append((now - start, seen))
        if killed is None and seen >= kill_at:
            os.kill(workers_of(process.pid)[1], signal.SIGKILL)
            killed = now - start, seen
        time.sleep(0.05)
    if killed is None or process.returncode:
        raise RuntimeError(f"the run was not killed, or has failed: {process.returncode}")
    return points, killed


OF_RUNS: dict[str, Callable[[Path], bytes]] = {"digits.webp": digits, "report.png": report}
"""Pictures of the default run, by file."""
IN_FOLDERS: dict[str, Callable[[Path], bytes]] = {"terminal.svg": terminal, "faults.svg": faults}
"""Pictures that take a run of their own."""
