"""`distgan bench all`: every benchmark, one after the other, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.frame import child
from benchmarks.frame.command import dated
from benchmarks.frame.folder import Folder
from benchmarks.frame.known import ALL, KNOWN
from distgan.cli.console import quoted, say
from distgan.cli.parser import Parser
from distgan.errors import UserError


def run_all(words: Sequence[str], program: str) -> int:
    """Run what is not complete yet; the exit status, 1 when a benchmark failed.

    Raises:
        UserError: for a mistake in the options.
    """
    parser = Parser(prog=program, description=f"{ALL}: {', '.join(KNOWN)}, in turn")
    parser.add_argument("--quick", action="store_true", help="in under ten minutes")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a folder for each in it")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with a stopped one")
    options = parser.parse_args(list(words))
    root = (options.resume or options.out or dated(ALL)).absolute()
    if options.resume is None and root.exists() and any(root.iterdir()):
        raise UserError(f"--out {root}: is not an empty folder; go on with it by --resume {root}")
    if options.resume is not None and not root.is_dir():
        raise UserError(f"--resume {root}: is not there; give a folder that `{program}` made")
    root.mkdir(parents=True, exist_ok=True)
    # All of a folder is as quick as its first.
    begun = next((root / n for n in KNOWN if (root / n / "run.json").exists()), None)
    if begun is not None:
        options.quick = bool(Folder.open(begun, "--resume").run["options"]["quick"])
    started, failed = time.monotonic(), []
    for place, name in enumerate(KNOWN, 1):
        minutes = (time.monotonic() - started) / 60
        say(f"\n[{place} of {len(KNOWN)}, {minutes:.1f} min] {name}: {KNOWN[name]}")
        status = _run(name, root / name, options.quick)
        if status == child.STOPPED:
            quick = " --quick" if options.quick else ""
            say(f"stopped; go on with: {program}{quick} --resume {quoted(str(root))}")
            return child.STOPPED
        if status:
            failed.append(name)
    minutes = (time.monotonic() - started) / 60
    say(f"\nall of it in {minutes:.1f} min: {root}")
    say(f"  Markdown: python -m benchmarks.table {quoted(str(root))}")
    if failed:
        say(f"failed: {', '.join(failed)}", error=True)
    return 1 if failed else 0


def _run(name: str, folder: Path, quick: bool) -> int:
    if (folder / "run.json").exists():
        if Folder.open(folder, "--resume").complete:
            return 0
        words = ["--resume", str(folder)]
    else:
        words = ["--out", str(folder), *(["--quick"] if quick else [])]
    return child.run(name, words)
