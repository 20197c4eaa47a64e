"""Feature extractors by name: the fixed networks in whose features metrics are computed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch

from distgan.config.settings import nearest
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.features import stacked
from distgan.features.base import Extractor
from distgan.features.classifier import CLASSES, SHAPES, small_classifier
from distgan.features.efficientnet import efficientnet
from distgan.features.inception import inception

EXTRACTORS: dict[str, Callable[[], Extractor]] = {
    "mnist": lambda: small_classifier("mnist"),
    "fashion-mnist": lambda: small_classifier("fashion-mnist"),
    "cifar10": lambda: small_classifier("cifar10"),
    "stacked-mnist": stacked.stacked_mnist,
    "efficientnet": efficientnet,
    "inception": inception,
}
"""What ``--evaluate.features`` takes, besides auto."""

_PACKAGES = {"efficientnet": "efficientnet_lite_pytorch", "inception": "torch_fidelity"}
"""The package that an extractor needs, from the extra of the extractor's name."""


def resolve(name: str, images: ImageSet) -> str:
    """The name of an extractor; ``auto`` becomes the one that fits a set of images.

    Raises:
        UserError: for an unknown name, for one whose package is not installed, and for
            ``stacked-mnist`` with images that hold no digits in their channels.
    """
    if name == "auto":
        name = _fitting(images)
    if name not in EXTRACTORS:
        raise UserError(
            f"--evaluate.features {name}: no such extractor{nearest(name, list(EXTRACTORS))}; "
            f"have auto, {', '.join(EXTRACTORS)}"
        )
    if name == "stacked-mnist":
        stacked.check_shape(images.shape)
    package = _PACKAGES.get(name)
    if package is not None and find_spec(package) is None:
        raise UserError(
            f"--evaluate.features {name}: needs {package}, which is not installed; "
            f"pip install 'distgan[{name}]', or name an extractor of your own"
        )
    return name


def _fitting(images: ImageSet) -> str:
    if images.shape.channels == 1:
        return "fashion-mnist" if images.classes == CLASSES["fashion-mnist"] else "mnist"
    return "stacked-mnist" if stacked.suits(images) else "efficientnet"


def load(name: str) -> Extractor:
    """The extractor of a name; made without changing torch's random state, which the run uses."""
    with torch.random.fork_rng(devices=[]):
        return EXTRACTORS[name]()


def small_classifier_for(images: ImageSet) -> Extractor | None:
    """The packaged classifier that was trained on a set's classes, if there is one."""
    gray = {name: classes for name, classes in CLASSES.items() if SHAPES[name].channels == 1}
    fits = [name for name in gray if (gray[name], SHAPES[name]) == (images.classes, images.shape)]
    return load(fits[0]) if fits else None
