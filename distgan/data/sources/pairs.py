"""Pairs of images that lie beside each other: NAME.png and NAME.pair.png."""

from __future__ import annotations

from collections.abc import Iterable

from distgan.errors import UserError, printable

_MARK = ".pair"


def pairs_beside(names: list[str], where: str) -> tuple[list[str], list[str] | None]:
    """The images NAME.*, and for each the image NAME.pair.*; the same names and None without any.

    Raises:
        UserError: when only some images have a pair.
    """
    marked = [name for name in names if stem_of(name).lower().endswith(_MARK)]
    others = [name for name in names if not stem_of(name).lower().endswith(_MARK)]
    stems = {stem_of(name) for name in others}
    if not any(stem_of(name)[: -len(_MARK)] in stems for name in marked):
        # Such as x.pair.png alone: images of unusual names.
        return names, None
    images = by_stem(others, where)
    pairs = {stem[: -len(_MARK)]: name for stem, name in by_stem(marked, where).items()}
    lacking = [images[stem] for stem in sorted(images.keys() - pairs.keys())]
    lacking += [pairs[stem] for stem in sorted(pairs.keys() - images.keys())]
    if lacking:
        raise UserError(
            f"{where}: {printable(lacking[0])} has no partner, as NAME.png has NAME.pair.png "
            f"({len(lacking):,} such images, beside {len(images.keys() & pairs.keys()):,} pairs); "
            "add their partners or remove them"
        )
    stems_in_order = sorted(images, key=lambda stem: images[stem])
    return [images[stem] for stem in stems_in_order], [pairs[stem] for stem in stems_in_order]


def by_stem(names: Iterable[str], where: str) -> dict[str, str]:
    """Names of files by what they are without their endings.

    Raises:
        UserError: when two are alike but for their endings.
    """
    found: dict[str, str] = {}
    for name in names:
        stem = stem_of(name)
        if stem in found:
            raise UserError(
                f"{where}: {printable(found[stem])} and {printable(name)} differ in their endings "
                "only, so that their pair is unclear; keep one of them"
            )
        found[stem] = name
    return found


def stem_of(name: str) -> str:
    """A file's name without its ending."""
    return name.rpartition(".")[0]
