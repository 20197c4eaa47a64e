"""The command line of a benchmark, alone or by `distgan bench`."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.frame import machine, plot, table
from benchmarks.frame.comparison import AGAIN, Benchmark
from benchmarks.frame.folder import RESULTS, Folder
from benchmarks.frame.progress import Shown
from benchmarks.frame.session import FAILED, Pace, measure
from distgan.cli.console import quoted, say, screen
from distgan.cli.parser import Parser
from distgan.errors import UserError

FOLDER = "bench-results"
"""Where results go, each run's in a folder of its own."""
BUSY = 0.05
"""Share of the machine's processors from which on others' work disturbs a turn."""
_PLOT = "plot.html"
_MOST = 1_000_000
"""Turns, or seconds of one."""
_WIDTH = 200
"""Columns of a table that goes into a file."""


def main(benchmark: Benchmark) -> None:
    """What `python -m benchmarks.NAME` does; ends the process."""
    try:
        status = run(benchmark, sys.argv[1:], f"python -m benchmarks.{benchmark.name}")
    except UserError as error:
        say(f"{benchmark.name}: {error}", error=True)
        status = 2
    sys.exit(status)


def run(benchmark: Benchmark, words: Sequence[str], program: str) -> int:
    """Measure, show tables, and write results; the exit status.

    Args:
        words: the options, and ``program`` what precedes them in the command.

    Raises:
        UserError: for a mistake in the options.
    """
    parser = _parser(benchmark, program)
    options = parser.parse_args(list(words))
    if options.resume is not None and len(words) > 2:
        raise UserError("--resume: goes on with the options of that run; leave others out")
    folder = _folder(benchmark, options, shlex.join([*program.split(), *words]))
    console = screen()
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    if folder.complete:
        raise UserError(f"--resume {folder.path}: is complete; see {folder.path / RESULTS}")
    pace = Pace(options.turns, options.seconds, options.busy, patient=not options.quick)
    stopped = _Stopped()
    try:
        with stopped, Shown(console) as shown:
            _measure(benchmark, options, pace, folder, shown)
    except KeyboardInterrupt:
        again = f"{program} --resume {quoted(str(folder.path))}"
        console.print(f"stopped; go on with: {again}", soft_wrap=True)
        return stopped.status
    _say_where(folder, console)
    failed = [
        f"{record.name}, {side}"
        for record in folder.records.values()
        for side, reason in record.unavailable.items()
        if reason.startswith(FAILED) and not side.endswith(AGAIN)
    ]
    if failed:
        say(f"failed: {'; '.join(failed)}", error=True)
    return 1 if failed else 0


def _say_where(folder: Folder, console: Console) -> None:
    lines = {"every turn": str(folder.path / RESULTS), "chart": str(folder.path / _PLOT)}
    lines["Markdown"] = f"python -m benchmarks.table {quoted(str(folder.path))}"
    if not (folder.path / _PLOT).exists():
        lines["chart"] = "none without plotly: pip install 'distgan[report]'"
    for name, text in lines.items():
        console.print(f"{name:>12}: {text}", soft_wrap=True)


class _Stopped:
    """Meanwhile SIGTERM ends a run as Ctrl-C does; ``status`` is then its exit status."""

    status = 130

    def __enter__(self) -> _Stopped:
        self._before = signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _stop(self, number: int, frame: object) -> None:
        self.status = 128 + number
        raise KeyboardInterrupt


def _measure(
    benchmark: Benchmark, options: argparse.Namespace, pace: Pace, folder: Folder, shown: Shown
) -> None:
    for comparison in benchmark.compare(options):
        turns = comparison.turns or pace.turns
        seconds = comparison.seconds or pace.seconds
        its_pace = replace(pace, turns=turns, seconds=seconds)
        record = measure(comparison, its_pace, folder, shown)
        shown.console.print("", *table.rich_tables(record, pace.busy), sep="\n")
        shown.note(table.footnote(record, pace.busy))
    figures = {n: table.as_figures(r, pace.busy) for n, r in folder.records.items()}
    plot.draw(folder, folder.path / _PLOT)
    folder.finish(figures)


def _parser(benchmark: Benchmark, program: str) -> Parser:
    parser = Parser(prog=program, description=f"{benchmark.name}: {benchmark.about}")
    turns, seconds = benchmark.quick
    parser.add_argument("--quick", action="store_true", help="few and short turns, as in CI")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"[{FOLDER}/NAME-DATE]")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with a stopped run")
    parser.add_argument(
        "--turns", type=_positive(int), help=f"of each side [{benchmark.turns}; quick {turns}]"
    )
    parser.add_argument(
        "--seconds",
        type=_positive(float),
        help=f"of a turn [{benchmark.seconds:g}; quick {seconds:g}]",
    )
    parser.add_argument(
        "--busy",
        type=float,
        default=BUSY,
        metavar="SHARE",
        help=f"drop pairs during which others took more of the machine [{BUSY:g}]",
    )
    benchmark.add_options(parser)
    return parser


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value <= _MOST:
            raise argparse.ArgumentTypeError(
                f"{text[:40]}: should be a number above 0 and up to {_MOST:,}"
            )
        return value

    return parse


def _folder(benchmark: Benchmark, options: argparse.Namespace, command: str) -> Folder:
    """The run's folder, new or to go on with; then ``options`` become those of its start."""
    if options.resume is None:
        turns, seconds = benchmark.quick if options.quick else (benchmark.turns, benchmark.seconds)
        options.turns, options.seconds = options.turns or turns, options.seconds or seconds
        path = options.out or dated(benchmark.name)
        kept = {n: v for n, v in vars(options).items() if n not in ("out", "resume")}
        return Folder.create(path, benchmark.name, kept, command)
    folder = Folder.open(options.resume, "--resume")
    name = folder.run["benchmark"]
    if name != benchmark.name:
        raise UserError(f"--resume {folder.path}: is of the benchmark {name}, not {benchmark.name}")
    vars(options).update(folder.run["options"])
    before, now = folder.run["machine"], machine.describe()
    for name in ("processor", "cores", "capability", "gpus", "versions"):
        if before.get(name) != now[name]:
            raise UserError(
                f"--resume {folder.path}: was begun with {name} {before.get(name)}, here it is "
                f"{now[name]}, and figures of both are not comparable; begin anew"
            )
    if before["commit"] != now["commit"]:
        print(
            f"the code has changed: commit {before['commit']} at the start, {now['commit']} now",
            file=sys.stderr,
        )
    return folder


def dated(name: str) -> Path:
    """A new folder's name, in the current one."""
    return Path(FOLDER) / time.strftime(f"{name}-%Y%m%d-%H%M%S")
