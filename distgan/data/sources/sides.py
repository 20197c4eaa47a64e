"""Images of two domains by their names: A/1.jpg and B/1.jpg, trainA and trainB, NAME.pair.png.

The side of an image is told by a folder on its way: ``A`` or ``B``, or one named by a split and a
side, such as ``trainA`` or ``val_B``. So ``A/train/1.jpg``, ``train/A/1.jpg`` and ``trainA/1.jpg``
all lie on the side A, at the place ``train/1.jpg``.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from distgan.data.sources.base import left_alone
from distgan.data.sources.folder import FolderSource, is_image
from distgan.data.sources.listing import Listing, list_folder, list_zip
from distgan.data.sources.pairs import by_stem
from distgan.data.sources.splits import WORDS, folders_of_split
from distgan.errors import UserError, printable

SIDES = ("A", "B")
"""The domain of the inputs, and that of the outputs."""

_SIDE = re.compile(rf"(?:((?i:{'|'.join(sorted(WORDS, key=len, reverse=True))}))[_-]?)?([AB])")
_LAYOUT = "folders A and B, or such as trainA and trainB"

_Side = dict[str, str]
"""Names of images by their places, which are alike on both sides."""


def open_pairs(path: Path, split: str) -> FolderSource:
    """Images of the side A of a folder or zip, with those of equal names of B as their pairs.

    The endings of the names may differ.

    Raises:
        UserError: when an image has no partner, or a side is empty.
    """
    listing, sides, notes = _sides(path, split)
    where = printable(str(path))
    first, second = (by_stem(sides[side], where) for side in SIDES)
    common = sorted(first.keys() & second.keys())
    if not common:
        some = [printable(sides[side][min(sides[side])]) for side in SIDES]
        raise UserError(
            f"{where}: no image of A has the name of one of B ({some[0]}, {some[1]}); rename "
            "them, or give --pairs unpaired for images that belong to no others"
        )
    lacking = [(sides["A"][first[stem]], "B") for stem in sorted(first.keys() - second.keys())]
    lacking += [(sides["B"][second[stem]], "A") for stem in sorted(second.keys() - first.keys())]
    if lacking:
        name, other = lacking[0]
        raise UserError(
            f"{where}: {printable(name)} has no partner of its name in {other} ({len(lacking):,} "
            f"such images, beside {len(common):,} pairs); add their partners or remove them"
        )
    images = [sides["A"][first[stem]] for stem in common]
    pairs = [sides["B"][second[stem]] for stem in common]
    return FolderSource(path, listing, images, None, (), notes, pairs)


def open_side(path: Path, split: str, side: str) -> FolderSource:
    """The images of one side of a folder or zip whose images belong to no others.

    Raises:
        UserError: when either side is empty.
    """
    listing, sides, notes = _sides(path, split)
    return FolderSource(path, listing, sorted(sides[side].values()), None, (), notes)


def both(names: Sequence[str]) -> bool:
    """Whether all images lie in folders of the two sides, and each of these has some."""
    places = [_place(name) for name in names]
    return {place and place[0] for place in places} == set(SIDES)


def _sides(path: Path, split: str) -> tuple[Listing, dict[str, _Side], tuple[str, ...]]:
    where = printable(str(path))
    if not path.is_dir() and not zipfile.is_zipfile(path):
        raise UserError(f"{where}: is no folder or zip of images; --pairs looks for {_LAYOUT}")
    listing = list_folder(path) if path.is_dir() else list_zip(path)
    found: dict[str, _Side] = {side: {} for side in SIDES}
    rest = []
    for name in sorted(listing.names):
        told = _place(name) if is_image(name) else None
        if told is None:
            rest.append(name)
            continue
        side, place = told
        if place in found[side]:
            raise UserError(
                f"{where}: {printable(found[side][place])} and {printable(name)} would be one "
                f"image of {side}; keep one of them"
            )
        found[side][place] = name
    _refuse_empty(found, where, "")
    if split == "test":
        found = _with_test(found)
    chosen, _, notes = folders_of_split(sorted({*found["A"], *found["B"]}), split, where)
    wanted = set(chosen)
    sides = {
        side: {place: name for place, name in its.items() if place in wanted}
        for side, its in found.items()
    }
    _refuse_empty(sides, where, f" in the split {split}")
    notes += (*listing.notes, *left_alone(rest, f"files that are no images in {_LAYOUT}"))
    return listing, sides, notes


def _place(name: str) -> tuple[str, str] | None:
    """The side of an image, and its place there; None for an image of neither."""
    *folders, last = name.split("/")
    for number, folder in enumerate(folders):
        told = _SIDE.fullmatch(folder)
        if told:
            inner = [told[1]] if told[1] else []
            return told[2], "/".join([*folders[:number], *inner, *folders[number + 1 :], last])
    return None


def _with_test(found: dict[str, _Side]) -> dict[str, _Side]:
    """The same with validation's images in the place of those of test, where none are named so."""
    kinds = {
        WORDS.get(part.lower())
        for its in found.values()
        for place in its
        for part in place.split("/")[:-1]
    }
    if "test" in kinds or "validation" not in kinds:
        return found

    def renamed(place: str) -> str:
        *folders, last = place.split("/")
        named = ["test" if WORDS.get(f.lower()) == "validation" else f for f in folders]
        return "/".join([*named, last])

    return {
        side: {renamed(place): name for place, name in its.items()} for side, its in found.items()
    }


def _refuse_empty(sides: dict[str, _Side], where: str, inside: str) -> None:
    empty = [side for side in SIDES if not sides[side]]
    if empty:
        lacking = " and ".join(empty)
        raise UserError(
            f"{where}: holds no images of {lacking}{inside}; --pairs looks for {_LAYOUT}"
        )
