"""Extractors of features by name: what metrics see images through."""

from __future__ import annotations

from collections.abc import Callable

from distgan.data.shape import ImageShape
from distgan.errors import UserError
from distgan.features.base import Extractor
from distgan.features.classifier import small_classifier
from distgan.settings import nearest

EXTRACTORS: dict[str, Callable[[], Extractor]] = {
    "mnist": lambda: small_classifier("mnist"),
}
"""What ``--evaluate.features`` takes, besides auto."""


def resolve(name: str, image: ImageShape) -> str:
    """The name of an extractor, which for ``auto`` is the one that fits images of a shape.

    Raises:
        UserError: for a name that is none, and for images that nothing of the package's fits.
    """
    if name != "auto":
        if name not in EXTRACTORS:
            raise UserError(
                f"--evaluate.features {name}: no such extractor{nearest(name, list(EXTRACTORS))}; "
                f"have auto, {', '.join(EXTRACTORS)}"
            )
        return name
    if image.channels == 1:
        return "mnist"
    raise UserError(
        f"--evaluate.features auto: nothing that comes with distgan sees images of "
        f"{image.channels} channels; name an extractor ({', '.join(EXTRACTORS)})"
    )
