"""A specimen of every kind of source, damaged in every way: one line or a set, never a traceback.

Deterministic: which bytes are changed is a function of the specimen and a seed. The drill does
many times more of it (`pytest -m drill tests/test_fuzzed_sources.py`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import shutil
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distgan.config.settings import from_dict
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.info import inform
from distgan.data.prepare import PrepareSettings
from distgan.data.sources import SOURCES
from distgan.errors import UserError
from distgan.launch.prepare import prepare

from .test_sources import KINDS, PIXELS

SECONDS = 10
Mutate = Callable[[bytes, np.random.Generator], bytes]


def flipped(content: bytes, draw: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for at in draw.integers(0, len(changed), 4) if changed else ():
        changed[at] ^= 1 << int(draw.integers(0, 8))
    return bytes(changed)


def spliced(content: bytes, draw: np.random.Generator) -> bytes:
    """A piece of the file once more, in the place of another."""
    if len(content) < 16:
        return content * 2
    start, stop = np.sort(draw.integers(0, len(content), 2)).tolist()
    at = int(draw.integers(0, len(content)))
    return content[:at] + content[start:stop] + content[at + (stop - start) // 2 :]


WAYS: dict[str, Mutate] = {
    "half": lambda content, draw: content[: len(content) // 2],
    "empty": lambda content, draw: b"",
    "no text": lambda content, draw: b"\xff\xfe" + content[2:],
    "brackets": lambda content, draw: b"[" * 100_000,
    "header kept": lambda content, draw: content[:64] + draw.bytes(max(0, len(content) - 64)),
    "flipped": flipped,
    "spliced": spliced,
}


def images(folder: Path) -> Path:
    """An image of every format that is read."""
    folder.mkdir()
    for number, form in enumerate(("png", "jpg", "webp", "bmp", "gif", "tif", "ppm")):
        Image.fromarray(PIXELS[number % 6]).save(folder / f"{number}.{form}")
    return folder


def prepared(folder: Path) -> Path:
    prepare(str(KINDS["folders"][0](folder / "made-of")), str(folder / "set"), workers=0)
    return folder / "set"


SPECIMENS: dict[str, Callable[[Path], Path]] = {
    **{kind: make for kind, (make, _) in KINDS.items()},
    "images": images,
    "prepared": prepared,
}


class HangError(BaseException):
    """Too long in Python's code: no Exception, which those who read foreign files turn into lines.

    Where something catches it all the same, `limited` raises it once more.
    """


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    rang: list[int] = []

    def late(number: int, frame: object) -> None:
        rang.append(number)
        raise HangError(f"over {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    # A signal waits until C code returns; where it never does, the process ends with a traceback.
    faulthandler.dump_traceback_later(3 * seconds, exit=True)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    if rang:
        raise HangError(f"over {seconds} s")


def outcome(path: Path, out: Path, kind: str, skip_bad: int) -> str:
    """What becomes of a source: a set, a line, or (as an exception) neither."""
    shutil.rmtree(out, ignore_errors=True)
    chosen = from_dict(PrepareSettings, {"size": 16, "channels": "rgb", "skip_bad": skip_bad})
    with limited(SECONDS):
        try:
            if kind == "prepared":
                read_resident(open_images(str(path)), replace=True)
                inform(str(path))
            made = prepare(str(path), str(out), chosen, workers=0)
        except UserError as error:
            said = str(error)
            assert 20 < len(said) < 2000, said
            assert said.isprintable(), said
            return "a line"
        assert made.count + made.skipped > 0
        return "a set"


def rounds(tmp_path: Path, kind: str, seeds: range) -> Counter[str]:
    """Every file of a specimen damaged in every way, one at a time."""
    path = SPECIMENS[kind](tmp_path / "source")
    files = sorted(f for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file())
    found: Counter[str] = Counter()
    for file in files:
        whole = file.read_bytes()
        for way, mutate in WAYS.items():
            once = way in ("half", "empty", "no text", "brackets")
            for seed in seeds[:1] if once else seeds:
                draw = np.random.default_rng([zlib.crc32(f"{kind}{file.name}{way}".encode()), seed])
                file.write_bytes(mutate(whole, draw))
                try:
                    found[outcome(path, tmp_path / "out", kind, 2 * (seed % 2))] += 1
                except (Exception, HangError) as error:
                    raise AssertionError(f"{kind}: {file.name} {way}, seed {seed}") from error
        file.write_bytes(whole)
    assert outcome(path, tmp_path / "out", kind, 0) == "a set"
    return found


@pytest.mark.parametrize("swallowed", [HangError, BaseException])
def test_a_hang_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swallowed: type[BaseException]
) -> None:
    def hanging(path: Path) -> bool:
        try:
            signal.raise_signal(signal.SIGALRM)
        except swallowed:
            if swallowed is HangError:
                raise
        return False

    kind = dataclasses.replace(SOURCES["idx"], looks_like=hanging)
    monkeypatch.setitem(SOURCES, "idx", kind)
    with pytest.raises(HangError):
        outcome(images(tmp_path / "a"), tmp_path / "out", "images", 0)


@pytest.mark.parametrize("kind", SPECIMENS)
def test_damage_is_a_line_or_left_out(tmp_path: Path, kind: str) -> None:
    found = rounds(tmp_path, kind, range(2))
    assert found["a line"] > 0


@pytest.mark.drill
@pytest.mark.parametrize("kind", SPECIMENS)
def test_much_damage_is_a_line_or_left_out(tmp_path: Path, kind: str) -> None:
    print(kind, dict(rounds(tmp_path, kind, range(2, 60))))
