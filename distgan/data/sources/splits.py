"""Determines which files and folders of a source belong to which split, and which are classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from distgan.data.sources.base import class_names, left_alone
from distgan.errors import UserError, printable

SPLITS = ("train", "test")
"""The splits that can be requested."""

WORDS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip
"""Words that name a split."""

# The word; optionally one letter of an image-translation set, as in trainA; optionally a
# continuation that begins with no letter, as in train2017 and train-00000-of-00001.parquet.
_NAME = re.compile(
    rf"({'|'.join(sorted(WORDS, key=len, reverse=True))})[ab]?(?:[^a-z].*)?", re.IGNORECASE
)


# A run of letters in a name; an upper-case letter begins a new one, as in trainSet.
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_FOLLOWING = frozenset(
    ("a", "b", "set", "sets", "data", "dataset", "image", "images", "img", "imgs")
)
"""Parts of a name that may follow a split's name without changing its meaning."""

_PART_NAME = re.compile(
    rf"({'|'.join(sorted(WORDS, key=len, reverse=True))})({'|'.join(_FOLLOWING)})?"
)


def split_of(name: str) -> str | None:
    """The split with which a file's or folder's name begins: train, test, validation, or None."""
    found = _NAME.fullmatch(name.rsplit("/", 1)[-1])
    return WORDS[found[1].lower()] if found else None


def _told(name: str) -> tuple[str | None, tuple[str, ...]]:
    """The only split named by any part of a name, or None; and the name's other parts."""
    parts = [part.lower() for part in _PART.findall(name.rsplit("/", 1)[-1])]
    found = [_PART_NAME.fullmatch(part) for part in parts]
    rest = tuple(
        part
        for part, match in zip(parts, found, strict=True)
        if match is None and part not in _FOLLOWING
    )
    splits = {WORDS[match[1]] for match in found if match}
    first = split_of(name)
    if first is not None:
        return first, rest
    return (splits.pop() if len(splits) == 1 else None), rest


def _splits_of_folders(folders: Sequence[str]) -> dict[str, str | None]:
    """The split of each of several sibling folders; None for a class or any other folder.

    A folder belongs to a split if its name has no other parts, or parts that a folder of another
    split has too (cars_train, cars_test). Names with other parts are taken for classes
    (training-wheels, test_tube), unless every folder names a split.
    """
    told = {folder: _told(folder) for folder in folders}
    if len({split for split, _ in told.values()} - {None}) < 2:
        return {folder: split if not rest else None for folder, (split, rest) in told.items()}
    if all(split for split, _ in told.values()):
        return {folder: split for folder, (split, _) in told.items()}
    of_rest: dict[tuple[str, ...], set[str]] = {}
    for split, rest in told.values():
        if split is not None:
            of_rest.setdefault(rest, set()).add(split)
    return {
        folder: split if split and (not rest or len(of_rest[rest]) > 1) else None
        for folder, (split, rest) in told.items()
    }


def files_of_split(
    names: Sequence[str], split: str, where: str
) -> tuple[list[str], tuple[str, ...]]:
    """The files of a split: those whose names say so, or all if no name contains a split.

    The split is named at the beginning of a name; if several splits are named, by any part of it.

    Returns:
        the files, and notes for the user.

    Raises:
        UserError: when there is no such split.
    """
    named = {name: _told(name)[0] for name in names}
    if len(set(named.values()) - {None}) < 2:
        named = {name: split_of(name) for name in names}
    chosen = [name for name in names if named[name] == split]
    if chosen:
        # Files of other splits are left out without a remark; others are counted in one.
        others = [name for name in names if named[name] is None]
        notes = left_alone(others, f"files that name no split, beside those of {split}")
        inside = [name for name in chosen if split_of(name) is None]
        if inside:
            notes = (f"read as split {split}: the files {_some(inside)}", *notes)
        return chosen, notes
    if split == "train" and not any(named.values()):
        return list(names), ()
    raise UserError(f"{where}: has no split {split}; its files are {_some(names)}")


def folders_of_split(
    names: Sequence[str], split: str, where: str
) -> tuple[list[str], str, tuple[str, ...]]:
    """The images of a split, determined by their folders.

    The folders on the first level that has more than one are classes, unless they name splits,
    such as train and test; then folders with other names are not used. Classes may contain the
    folders of the splits, as in cat/train and cat/test.

    Args:
        names: of all images, with slashes between folders; never empty.

    Returns:
        the images of the split; the folder, ending in a slash, in which their classes are
        folders, or empty; and notes for the user.

    Raises:
        UserError: when there is no such split, or it cannot be determined.
    """
    common = _common_folder(names)
    inside = next(
        (WORDS[part.lower()] for part in common.split("/") if part.lower() in WORDS), None
    )
    if inside is not None:
        if inside != split:
            raise UserError(f"{where}: has no split {split}, only {printable(common)}")
        return list(names), common, ()
    tops = {name: name[len(common) :].partition("/")[0] for name in names}
    folders = sorted({top for name, top in tops.items() if _in_folder(name, common)})
    told = _splits_of_folders(folders)
    kinds = {kind for kind in told.values() if kind}
    if not kinds or (len(kinds) == 1 and None in told.values()):
        return _unsplit(names, split, where, common, told)
    mine = [folder for folder in folders if told[folder] == split]
    if not mine:
        raise UserError(f"{where}: has no split {split}; its folders are {_some(folders)}")
    chosen = [name for name in names if tops[name] in mine and _in_folder(name, common)]
    rest = [name for name in names if told.get(tops[name]) is None]
    notes = left_alone(rest, f"images beside the folders of splits ({_some(sorted(told))})")
    exact = [folder for folder in mine if folder.lower() in WORDS]
    if len(exact) == 1 and len(mine) > 1:
        return _exactly(chosen, tops, exact[0], common, notes)
    if len(mine) == 1:
        if mine[0].lower() not in WORDS:
            notes = (f"read as split {split}: the folder {printable(mine[0])}", *notes)
        return chosen, f"{common}{mine[0]}/", notes
    return chosen, common, (f"read as split {split}: {_some(mine)}, each a class", *notes)


def classes_of(
    names: Sequence[str], inside: str, where: str, what: str
) -> tuple[list[int] | None, tuple[str, ...]]:
    """The label of each file, by the folder below ``inside`` that it lies in.

    Args:
        names: of the files, all in ``inside``, which ends in a slash or is empty.
        what: description of the files, such as "images".

    Returns:
        the labels, and the names of the classes; None and nothing where folders make no classes:
        there is none, or a single one.

    Raises:
        UserError: when some files lie in folders, and others beside them.
    """
    folders = [name[len(inside) :].rpartition("/")[0] for name in names]
    if all(folders):
        tops = [folder.split("/", 1)[0] for folder in folders]
        distinct = sorted(set(tops))
        if len(distinct) == 1:
            return None, ()
        number = {name: label for label, name in enumerate(distinct)}
        return [number[top] for top in tops], class_names(distinct)
    if any(folders):
        beside = names[folders.index("")]
        deeper = next(name for name, folder in zip(names, folders, strict=True) if folder)
        raise UserError(
            f"{where}: has {what} both beside and inside sub-folders ({printable(beside)}, "
            f"{printable(deeper)}); give every class a sub-folder, or put all {what} in one"
        )
    return None, ()


def _unsplit(
    names: Sequence[str], split: str, where: str, common: str, told: dict[str, str | None]
) -> tuple[list[str], str, tuple[str, ...]]:
    below = _below_classes(names, split, where, common)
    if below is not None:
        return below
    exact = [folder for folder in told if folder.lower() in WORDS]
    loosely = [folder for folder in told if _told(folder)[0]]
    if len(exact) == 1 < len(told) and len(loosely) == len(told):
        if WORDS[exact[0].lower()] != split:
            raise UserError(f"{where}: has no split {split}; its folders are {_some(list(told))}")
        tops = {name: name[len(common) :].partition("/")[0] for name in names}
        return _exactly(names, tops, exact[0], common, ())
    if exact and len(told) > 1:
        other = next(folder for folder in told if told[folder] is None)
        raise UserError(
            f"{where}: is {printable(exact[0])}/ a split or a class, beside {printable(other)}/? "
            f"For the split give {where}/{printable(common + exact[0])}; as a class give it "
            "another name"
        )
    if split != "train":
        raise UserError(f"{where}: has no split {split}; that would be a sub-folder {split}/")
    if len({_told(folder)[0] for folder in loosely}) < 2:
        return list(names), common, ()
    note = f"read as classes, and not as splits: the folders {_some(loosely)}"
    return list(names), common, (note,)


def _exactly(
    names: Sequence[str], tops: dict[str, str], folder: str, common: str, notes: tuple[str, ...]
) -> tuple[list[str], str, tuple[str, ...]]:
    """The images of the folder that has a split's very name, as train beside train_extra."""
    others = [name for name in names if tops[name] != folder]
    notes = (*notes, *left_alone(others, f"images beside those of {printable(folder)}/"))
    return [name for name in names if tops[name] == folder], f"{common}{folder}/", notes


def _below_classes(
    names: Sequence[str], split: str, where: str, common: str
) -> tuple[list[str], str, tuple[str, ...]] | None:
    """The images of a split whose folders lie inside the classes', or None where none do.

    Raises:
        UserError: when not all images lie so, or a class has none of the split.
    """
    inner: dict[str, dict[str | None, str]] = {}
    kind_of: dict[str, str | None] = {}
    for name in names:
        top, *rest = name[len(common) :].split("/")
        kind_of[name] = WORDS.get(rest[0].lower()) if len(rest) > 1 else None
        inner.setdefault(top, {})[kind_of[name]] = rest[0] if rest else ""
    kinds = {kind for found in inner.values() for kind in found} - {None}
    if len(kinds) < 2:
        return None
    mixed = next((name for name, kind in kind_of.items() if kind is None), None)
    if mixed is not None:
        top = next(top for top, found in inner.items() if set(found) - {None})
        raise UserError(
            f"{where}: {printable(common + top)}/ has folders of splits inside it "
            f"({_some(sorted(filter(None, inner[top].values())))}), but {printable(mixed)} lies in "
            "none; move all images of a class into such folders, or give them other names"
        )
    lacking = sorted(top for top, found in inner.items() if split not in found)
    if lacking:
        raise UserError(
            f"{where}: has no split {split} in {_some(lacking)}; its classes have folders of "
            f"splits inside them ({', '.join(sorted(map(str, kinds)))})"
        )
    chosen = [name for name in names if kind_of[name] == split]
    note = f"read as split {split}: its folders inside {_some(sorted(inner))}"
    return chosen, common, (note,)


def _common_folder(names: Sequence[str]) -> str:
    """The deepest folder that contains all names, with a slash at its end, or an empty text."""
    parts = [name.split("/")[:-1] for name in names]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "".join(f"{part}/" for part in shared)


def _in_folder(name: str, common: str) -> bool:
    return "/" in name[len(common) :]


def _some(names: Sequence[str]) -> str:
    short = [printable(name.rsplit("/", 1)[-1]) for name in names]
    return ", ".join(short[:4]) + (f" and {len(short) - 4} more" if len(short) > 4 else "")
