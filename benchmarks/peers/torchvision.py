"""Lightning, torchgan and mimicry import torchvision; nothing here calls it."""

from __future__ import annotations

import importlib

import torch

_KEPT: list[torch.library.Library] = []


def importable() -> None:
    """Have torchvision import even where its operators do not fit torch's build.

    Its wheel is built against CUDA. Beside torch's CPU build its operators stay unknown, and
    the import fails as soon as one of them is looked up.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        # Its definitions last as long as it does.
        _KEPT.append(library)
        importlib.import_module("torchvision")
