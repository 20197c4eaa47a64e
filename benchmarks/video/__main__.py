"""Clips of moving digits: what each family learns in equal seconds of training.

    python -m benchmarks.video
    python -m benchmarks.video --only moving-mnist-video --seeds 0,1,2 --seconds 600
    python -m benchmarks.video --quick

Trains each recipe with each seed, and measures it beside clips that were held out. Every run leaves
a dated record, an animation and a film strip in benchmarks/records/video, and is not run again by
the same line. Prints the table of all records, and writes it beside these. The clips are made from
the digits of the package, so nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.frame import machine
from benchmarks.limited import Defaults, read_options
from benchmarks.video.page import tables
from benchmarks.video.sides import METRICS, SET, SIDES, prepared
from benchmarks.video.timed import Asked, run
from distgan.config.settings import to_dict

RECORDS = Path(__file__).parent.parent / "records" / "video"
_DEFAULTS = Defaults(600, 1000, "clips that are measured", "runs/video", (30.0, 100))


def file_of(asked: Asked, records: Path) -> Path:
    """The record of a run: another one where anything that decides what is computed differs."""
    what = {
        "settings": to_dict(asked.side.config(SET, asked.seed)),
        "seconds": asked.seconds,
        "threads": asked.threads,
        "num": asked.num,
        "metrics": METRICS,
    }
    kind = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    return records / f"{asked.side.name}-{asked.seconds:g}-{asked.seed}-{kind}.json"


def recorded(asked: Asked, records: Path, out: Path) -> Path:
    """Run it unless a record is there; the record's file."""
    file = file_of(asked, records)
    if file.exists():
        print(f"{asked.side.name}, seed {asked.seed}: {file.name} is there", flush=True)
        return file
    found = run(asked, out / file.stem)
    record = {
        "side": asked.side.name,
        "seed": asked.seed,
        "seconds": asked.seconds,
        "threads": asked.threads,
        "num": asked.num,
        **found.record,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine.describe(),
    }
    records.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".webp").write_bytes(found.film)
    file.with_suffix(".png").write_bytes(found.strip)
    file.write_text(json.dumps(record, indent=1) + "\n")
    values = ", ".join(f"{name} {value:.4g}" for name, value in found.record["values"].items())
    print(f"{asked.side.name}, seed {asked.seed}: {values}", flush=True)
    return file


def read(records: Path) -> list[dict[str, Any]]:
    """All records of a folder, by side and seed."""
    return [json.loads(file.read_text()) for file in sorted(records.glob("*.json"))]


def main() -> int:
    """Run what is asked for; print and write the table."""
    options = read_options(str(__doc__), SIDES, _DEFAULTS)
    records = options.out / "records" if options.quick else RECORDS
    data = prepared(options.out / "sets")
    for seed in map(int, options.seeds.split(",")):
        for name in options.only or SIDES:
            limits = options.seconds, options.threads, options.num
            recorded(Asked(SIDES[name], data, seed, *limits), records, options.out)
    found = read(records)
    on = sorted({machine.in_one_line(record["machine"]) for record in found})
    text = "\n".join([tables(found), *on]) + "\n"
    (records / "README.md").write_text("# Records of clips\n\n" + text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
