"""Whether distgan is right on GPUs: a line for each check, and a record of all.

Prints PASS, FAIL or SKIP with the reason for each check, and writes what it found to a dated file
in benchmarks/records/gpu. Checks of one process use the first GPU; those of several use all, and
are skipped where there is but one. With ``--cpu`` everything that CPUs can do is rehearsed, which
says whether the checks themselves work and nothing of GPUs.

    python -m benchmarks.gpu_check
    python -m benchmarks.gpu_check --cpu --quick
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.frame import machine
from benchmarks.gpu import several, single
from benchmarks.gpu.check import Check, FailedError, Place, Said, SkippedError
from distgan.cli.boundary import guarded
from distgan.config.settings import nearest
from distgan.errors import UserError, first_line

RECORDS = Path(__file__).parent / "records" / "gpu"
CHECKS: dict[str, Check] = {**single.CHECKS, **several.CHECKS}
_WIDTH = max(map(len, CHECKS))
_NO_GPU = 2
"""Exit status."""


def main(words: list[str]) -> int:
    """Check, print, and write the record.

    Returns:
        0 if nothing failed, 1 if something did.

    Raises:
        UserError: without a GPU, or for a mistake in the words.
    """
    options = _options(words)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not gpus and not options.cpu:
        raise UserError(
            "gpu_check: there is no GPU here that torch can use; --cpu rehearses the checks on CPUs"
        )
    names = options.only or list(CHECKS)
    for name in names:
        if name not in CHECKS:
            near = nearest(name, list(CHECKS))
            raise UserError(f"--only {name!r}: no such check{near}; have {', '.join(CHECKS)}")
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        gpu = not options.cpu
        place = Place(
            torch.device("cuda", 0) if gpu else torch.device("cpu"),
            gpus if gpu else 2,
            options.quick,
            Path(folder),
        )
        found = [_made(name, place) for name in names]
    counts = {kind: sum(each["result"] == kind for each in found) for kind in _KINDS}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    print(_written(options, found))
    return 1 if counts["FAIL"] else 0


_KINDS = ("PASS", "FAIL", "SKIP")


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cpu", action="store_true", help="rehearse on CPUs")
    parser.add_argument("--quick", action="store_true", help="fewer configurations and images")
    parser.add_argument(
        "--only", action="append", metavar="CHECK", help="this one; may be repeated [all]"
    )
    parser.add_argument(
        "--out", type=Path, default=RECORDS, help="folder of the record [benchmarks/records/gpu]"
    )
    return parser.parse_args(words)


def _made(name: str, place: Place) -> dict[str, Any]:
    start = time.perf_counter()
    kind, said = _outcome(name, place)
    seconds = time.perf_counter() - start
    print(f"{kind}  {name:<{_WIDTH}}  {said.line} ({seconds:.0f} s)", flush=True)
    return {
        "check": name,
        "result": kind,
        "reason": said.line,
        "seconds": round(seconds, 1),
        "figures": said.figures,
    }


def _outcome(name: str, place: Place) -> tuple[str, Said]:
    if name in several.CHECKS and place.ranks < 2:
        return "SKIP", Said("there is only one GPU")
    try:
        return "PASS", CHECKS[name](place)
    except SkippedError as error:
        return "SKIP", Said(str(error))
    except FailedError as error:
        return "FAIL", Said(str(error))
    except Exception as error:
        # Whatever goes wrong in one is a result, and the others are to be made too.
        return "FAIL", Said(f"{type(error).__name__}: {first_line(error)}")


def _written(options: argparse.Namespace, found: list[dict[str, Any]]) -> Path:
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "rehearsed_on_cpus": options.cpu,
        "quick": options.quick,
        "machine": machine.describe(),
        "checks": found,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    kind = "cpu" if options.cpu else torch.cuda.get_device_name(0).lower().replace(" ", "-")
    file: Path = options.out / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{kind}.json"
    file.write_text(json.dumps(record, indent=2) + "\n")
    return file


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(guarded(["gpu_check", *given], lambda: main(given)))
