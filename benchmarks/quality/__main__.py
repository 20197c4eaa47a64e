"""The GAN speedrun: how soon is it good? Seconds of training to a stated Frechet distance.

    python -m benchmarks.quality --seeds 3
    python -m benchmarks.quality --data mnist --seeds 1 --provisional

Fashion-MNIST is taken from --fashion, a folder of its IDX files (Debian's package
dataset-fashion-mnist by default), and CIFAR-10 from --cifar10, a set (what
`distgan data prepare cifar10` makes by default). Beside the textbook loop races the peer that is
fastest on convolutions, where it is installed.

Every race is kept in benchmarks/records and not run again while course and racers are the same;
the same line goes on where it was stopped. What --provisional made is made again without it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.peers.contest import PEERS
from benchmarks.quality import records
from benchmarks.quality.race import Course, race
from benchmarks.quality.racers import BEST_PEER, RACERS, described
from distgan.data.images import open_images
from distgan.data.prepare import PrepareSettings
from distgan.launch.prepare import prepare

RECORDS = Path(__file__).parent.parent / "records"
FASHION = Path("/usr/share/datasets/fashion-mnist")
COURSES = {
    "mnist": Course("mnist", "mnist", "mnist", target=16.0, every=3.0, limit=300.0),
    "fashion-mnist": Course(
        "fashion-mnist", "", "fashion-mnist", target=20.0, every=3.0, limit=300.0
    ),
    "cifar10": Course("cifar10", "", "cifar10", target=30.0, every=10.0, limit=300.0),
}
FIRST_SEED = 1
"""Settings and targets are chosen on others, from 100 up."""


def key(course: Course, names: list[str], images: int) -> str:
    """Equal for races that may stand in one table: over the same course, on as many images."""
    what: dict[str, Any] = {"course": asdict(replace(course, data=course.name)), "images": images}
    what["racers"] = {name: described(name, course.name, 0) for name in names}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


def run(course: Course, names: list[str], seed: int, provisional: bool) -> records.Record:
    """One race, as it is kept."""
    print(f"{course.name}, seed {seed}, to {course.target:g}", file=sys.stderr)

    def tell(name: str, seconds: float, images: int, value: float) -> None:
        line = f"  {name:<22} {seconds:6.1f} s  {images:9,} images  {value:9.2f}"
        print(line, file=sys.stderr, flush=True)

    machine = records.described(os.cpu_count() or 1)
    sides = race(course, names, seed, tell)
    images = open_images(course.data).count
    return {
        "key": key(course, names, images),
        "provisional": provisional,
        "seed": seed,
        "course": asdict(replace(course, data=course.name)),
        "images": images,
        "machine": machine,
        "racers": {name: described(name, course.name, seed) for name in names},
        "sides": sides,
    }


def known(folder: Path, course: Course, names: list[str], seed: int, provisional: bool) -> bool:
    """Whether a race was run already."""
    images = open_images(course.data).count
    return any(
        record["key"] == key(course, names, images)
        and record["seed"] == seed
        and (provisional or not record["provisional"])
        for record in records.read(folder)
    )


def place(course: Course, options: argparse.Namespace, scratch: Path) -> Path | str | None:
    """Where a course's set is, or None, which is said, if it is not here."""
    if course.data:
        return course.data
    option = {"fashion-mnist": "fashion", "cifar10": "cifar10"}[course.name]
    given: Path = getattr(options, option)
    if not given.exists():
        print(f"--{option} {given}: is not there, so {course.name} is left out", file=sys.stderr)
        return None
    if course.name != "fashion-mnist":
        return given
    prepare(str(given), str(scratch / course.name), PrepareSettings())
    return scratch / course.name


def main() -> None:
    """Race, keep records, and print their index."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", action="append", choices=COURSES, help="[all that are there]")
    parser.add_argument("--seeds", type=int, default=3, help="how many [3]")
    parser.add_argument("--fashion", type=Path, default=FASHION, help=f"[{FASHION}]")
    parser.add_argument("--cifar10", type=Path, default=Path("cifar10"), help="[cifar10]")
    parser.add_argument("--also", action="append", choices=RACERS, help="one more racer")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first seed [1]")
    parser.add_argument("--target", type=float, help="distance to reach, with one --data")
    parser.add_argument("--limit", type=float, help="seconds of training at most [300]")
    parser.add_argument("--provisional", action="store_true", help="on a machine that is not quiet")
    parser.add_argument("--out", type=Path, default=RECORDS, help="folder [benchmarks/records]")
    options = parser.parse_args()
    if options.target and len(options.data or COURSES) > 1:
        parser.error("--target: is of one set; name it with --data")
    names = ["textbook", *([] if PEERS[BEST_PEER].missing else [BEST_PEER]), "distgan"]
    if BEST_PEER not in names:
        print(f"{BEST_PEER} is not installed, and does not race", file=sys.stderr)
    names = list(dict.fromkeys([*names, *(options.also or [])]))
    with tempfile.TemporaryDirectory() as scratch:
        for data in options.data or COURSES:
            course = COURSES[data]
            if options.limit:
                course = replace(course, limit=options.limit)
            if options.target:
                course = replace(course, target=options.target)
            found = place(course, options, Path(scratch))
            if found is None:
                continue
            course = replace(course, data=str(found))
            for seed in range(options.first, options.first + options.seeds):
                if not known(options.out, course, names, seed, options.provisional):
                    made = run(course, names, seed, options.provisional)
                    print(records.write(options.out, made))
    print(records.index(records.read(options.out)))


if __name__ == "__main__":
    main()
