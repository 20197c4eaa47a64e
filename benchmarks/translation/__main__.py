"""Image translation beside its baselines and a plain script, for equal seconds of training.

    python -m benchmarks.translation
    python -m benchmarks.translation --only edges2digits-pix2pix edges2digits-plain --seeds 0,1,2
    python -m benchmarks.translation --quick

Trains each side with each seed, and measures it on held-out images. Every run leaves a dated record
and a picture of held-out images in benchmarks/records/translation, and is not run again by the same
line. Prints the tables of all records, and writes them beside these.

Held-out images are MNIST's and CIFAR-10's test images, from the folder that DISTGAN_TEST_DATA
names (its mnist/ with IDX files, its cifar10/ with Parquet files train-*.parquet and
test-*.parquet), else downloaded.
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
from benchmarks.translation import sides
from benchmarks.translation.page import tables
from benchmarks.translation.sides import SIDES
from benchmarks.translation.timed import Asked, run
from distgan.config.settings import to_dict

RECORDS = Path(__file__).parent.parent / "records" / "translation"
_DEFAULTS = Defaults(300, 10_000, "held-out images, at most", "runs/translation", (8.0, 100))


def file_of(asked: Asked, records: Path) -> Path:
    """The record of a run: another one where anything that decides what is computed differs."""
    side = asked.side
    settings = to_dict(side.config(asked.task.set, asked.seed))
    what = {
        "settings": settings,
        "plain": side.plain,
        "seconds": asked.seconds,
        "threads": asked.threads,
        "num": asked.num,
        "metrics": asked.task.metrics,
    }
    kind = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    return records / f"{side.name}-{asked.seconds:g}-{asked.seed}-{kind}.json"


def recorded(asked: Asked, records: Path, out: Path) -> Path:
    """Run it unless a record is there; the record's file."""
    file = file_of(asked, records)
    if file.exists():
        print(f"{asked.side.name}, seed {asked.seed}: {file.name} is there", flush=True)
        return file
    found, sheet = run(asked, out / file.stem)
    record = {
        "task": asked.task.name,
        "side": asked.side.name,
        "seed": asked.seed,
        "seconds": asked.seconds,
        "threads": asked.threads,
        "num": asked.num,
        **found,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine.describe(),
    }
    records.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".png").write_bytes(sheet)
    file.write_text(json.dumps(record, indent=1) + "\n")
    shown = next(iter(found["values"].values()))
    values = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
    print(f"{asked.side.name}, seed {asked.seed}: {values}", flush=True)
    return file


def read(records: Path) -> list[dict[str, Any]]:
    """All records of a folder, by side and seed."""
    return [json.loads(file.read_text()) for file in sorted(records.glob("*.json"))]


def main() -> int:
    """Run what is asked for; print and write the tables."""
    options = read_options(str(__doc__), SIDES, _DEFAULTS)
    records = options.out / "records" if options.quick else RECORDS
    for seed in map(int, options.seeds.split(",")):
        for name in options.only or SIDES:
            task, side = SIDES[name]
            data = sides.data(task.set, options.out / "sets")
            limits = options.seconds, options.threads, options.num
            recorded(Asked(task, side, data, seed, *limits), records, options.out)
    found = read(records)
    text = tables(found)
    on = sorted({machine.in_one_line(record["machine"]) for record in found})
    text = "\n".join([text, *on]) + "\n"
    (records / "README.md").write_text("# Records of image translation\n\n" + text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
