"""GAN, VAE and VAE-GAN: same data, decoders of the same size, equal seconds and equal images.

    python -m benchmarks.compare mnist
    python -m benchmarks.compare mnist fashion-mnist cifar10 --seeds 3

Writes a table, a page with pictures side by side, and a picture of each set to --out. Every seed of
a side is recorded in benchmarks/records/compare when it is measured, and is not run again by the
same line; --again runs all anew. Sets are downloaded unless they are in the package, or Debian's;
--source SET=PATH takes a folder or file instead.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.compare.contest import Contest, pictures
from benchmarks.compare.page import markdown, page
from benchmarks.compare.sides import SETS
from benchmarks.compare.strip import strip
from benchmarks.frame import machine
from distgan.data.prepare import PrepareSettings
from distgan.launch.prepare import prepare

RECORDS = Path(__file__).parent.parent / "records" / "compare"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_HELD_OUT = 5_000


def _prepared(name: str, sources: dict[str, str], folder: Path) -> Path:
    out = folder / "sets" / name
    if not out.exists():
        found = _DEBIAN if name == "fashion-mnist" and _DEBIAN.is_dir() else name
        source = sources.get(name, str(found))
        prepare(source, str(out), PrepareSettings(validation=_HELD_OUT))
    return out


def _record(name: str, contest: Contest, found: dict[str, Any]) -> dict[str, Any]:
    asked = {"images": contest.images, "seconds": contest.seconds, "num": contest.num}
    return {"set": name, "asked": asked, **found}


def run(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every side and seed of a set, or what is recorded of them."""
    sources = dict(pair.split("=", 1) for pair in options.source)
    data = str(_prepared(name, sources, options.out))
    contest = Contest(data, options.images, options.seconds, options.threads, options.num)
    records: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for side in SETS[name]:
            file = RECORDS / f"{name}-{side.name}-{contest.images}-{contest.seconds:g}-{seed}.json"
            if options.again or not file.exists():
                folder = options.out / name
                shutil.rmtree(folder / f"{side.name}-{seed}", ignore_errors=True)
                found = contest.run(side, seed, folder)
                about = {"machine": machine.describe(), "time": time.strftime("%Y-%m-%d")}
                RECORDS.mkdir(parents=True, exist_ok=True)
                each = [_record(name, contest, one.to_dict()) for one in found]
                file.write_text(json.dumps({**about, "found": each}, indent=1) + "\n")
            read = json.loads(file.read_text())["found"]
            records += read
            for one in read:
                values = ", ".join(f"{k} {v:.4g}" for k, v in one["values"].items())
                print(f"{name}, {side.name}, seed {seed}, {one['at']}: {values}", flush=True)
    return records


def main() -> int:
    """Run what is asked for; write the table and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", choices=SETS, metavar="SET", help=", ".join(SETS))
    parser.add_argument("--seeds", type=int, default=3, help="[3]")
    parser.add_argument("--images", type=int, default=200_000, help="for all sides [200000]")
    parser.add_argument("--seconds", type=float, default=60, help="of training [60]")
    parser.add_argument("--num", type=int, default=5_000, help="images of a measurement [5000]")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="[all cores]")
    parser.add_argument("--source", nargs="+", default=[], metavar="SET=PATH")
    parser.add_argument("--again", action="store_true", help="also what is recorded")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="[runs/compare]")
    options = parser.parse_args()
    records = [record for name in options.sets for record in run(name, options)]
    shown = {
        name: {
            side.name: pictures(str(folder), str(options.out / "sets" / name))
            for side in SETS[name]
            if (folder := options.out / name / f"{side.name}-0").exists()
        }
        for name in options.sets
    }
    for name, sides in shown.items():
        (options.out / f"{name}.png").write_bytes(strip(sides))
    text = markdown(records)
    (options.out / "compare.md").write_text(text)
    on = machine.in_one_line(machine.describe())
    (options.out / "compare.html").write_text(page(records, shown, on))
    print(text)
    print(f"{options.out / 'compare.html'}: the same with pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
