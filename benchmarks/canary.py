"""Whether distgan still trains with the newest Ray and torch that pip finds.

Makes a virtual environment in a temporary folder (or ``--venv``), installs this checkout there
with the newest releases of Ray and torch, whatever ``constraints.txt`` says, and trains one small
run on one worker and one on two, by Ray's documented interface and, where that release is in the
window of `distgan.launch.ray.private`, also by the other. Says which versions it was, and ends
with 1 where a run failed or weights differ. No part of CI: what is new today need not be
tomorrow.

    python -m benchmarks.canary
    python -m benchmarks.canary --venv /tmp/canary --pip-option=--pre
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from distgan.launch.ray.private import VARIABLE

_CHECKOUT = Path(__file__).parents[1]
_NEWEST = ("ray[train,tune]", "torch")
_SECONDS = 600
_TINY = (
    *("train", "mnist-mlp", "--images", "2560"),
    *("--generator.network.widths", "16", "--discriminator.network.widths", "16"),
)
_VERSIONS = """
import ray, torch
from distgan.launch.ray import private
print(ray.__version__, torch.__version__, private.usable())
"""


def install(folder: Path, options: list[str]) -> Path:
    """Make the environment; its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--upgrade", *options]
    subprocess.run([*pip, *_NEWEST, str(_CHECKOUT)], check=True)
    return python


def _environment(public: bool) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_") and name != "PYTHONPATH"
    }
    return {**kept, VARIABLE: str(int(public))}


def train(python: Path, folder: Path, workers: int, public: bool) -> tuple[str, float]:
    """Digest of the weights that a run ends in, and its seconds.

    Raises:
        RuntimeError: when it fails, with what it said.
    """
    out = folder / f"{workers}-{'public' if public else 'private'}"
    start = time.monotonic()
    done = subprocess.run(
        [str(python), "-m", "distgan", *_TINY, "--workers", str(workers), "--out", str(out)],
        cwd=folder,
        env=_environment(public),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    weights = (out / "generator.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest(), time.monotonic() - start


def check(python: Path, folder: Path) -> bool:
    """Train every way and print a line for each; whether all is well."""
    # Not from the checkout, whose package would be imported in place of the installed one.
    told = subprocess.run(
        [str(python), "-c", _VERSIONS],
        cwd=folder,
        env=_environment(False),
        capture_output=True,
        text=True,
    )
    if told.returncode:
        print(f"FAIL  import: {told.stderr.strip()}")
        return False
    ray, torch, inside = told.stdout.split()
    print(f"Ray {ray}, torch {torch}; in the window of releases: {inside}")
    sound = True
    for workers in (1, 2):
        digests = set()
        for public in (True, False) if inside == "True" else (True,):
            name = f"{workers} workers, {'documented' if public else 'undocumented'} interface"
            try:
                digest, seconds = train(python, folder, workers, public)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                print(f"FAIL  {name}: {error}")
                sound = False
                continue
            digests.add(digest)
            print(f"PASS  {name}: {seconds:.1f} s, {digest[:16]}")
        if len(digests) > 1:
            print(f"FAIL  {workers} workers: the weights differ")
            sound = False
    return sound


def main() -> int:
    """Install, check, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--venv", type=Path, help="kept there, and used again [temporary]")
    parser.add_argument(
        "--pip-option", action="append", default=[], metavar="OPTION", help="such as --pre"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="canary-") as folder:
        place = options.venv or Path(folder) / "venv"
        python = install(place, options.pip_option)
        runs = Path(folder) / "runs"
        runs.mkdir()
        return 0 if check(python, runs) else 1


if __name__ == "__main__":
    sys.exit(main())
