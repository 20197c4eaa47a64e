"""Labels of generated images, and what a metric needs of an extractor's features."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from distgan.config.evaluate import EvaluateSettings
from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.evaluate.evaluation import Evaluator
from distgan.families.data import Batch
from distgan.launch.prepare import prepare
from distgan.parallel import World

from .steps import family_of


@pytest.mark.parametrize("even", [True, False])
def test_labels_of_a_perfect_generator_are_the_datas(
    even: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of images that are shades by class, all alike within one."""
    counts = np.full(4, 100) if even else np.array([10, 20, 70, 300])
    labels = np.repeat(np.arange(4), counts)
    pixels = (60 * labels).astype(np.uint8)[:, None, None] + np.zeros((1, 28, 28), np.uint8)
    np.savez(tmp_path / "set.npz", images=pixels, labels=labels)
    prepare(str(tmp_path / "set.npz"), str(tmp_path / "set"))
    images = open_images(str(tmp_path / "set"))
    family = family_of(images, conditional=True)

    def perfect(networks: object, batch: Batch) -> Tensor:
        shades = 60 * batch.columns["label"].float() / 127.5 - 1
        return shades.view(-1, 1, 1, 1).expand(-1, *images.shape)

    monkeypatch.setattr(family, "generate", perfect)
    chosen = EvaluateSettings(num=400, features="mnist", metrics=("frechet", "modes"))
    networks = {role: net.module.eval() for role, net in family.networks().items()}
    found = Evaluator(chosen, images, "shades", family, World()).evaluate(networks, 0)
    assert found.values["frechet"].value == pytest.approx(0, abs=1e-4)
    assert found.values["class-divergence"].value == pytest.approx(0, abs=1e-12)
    assert found.card.labels == ("" if even else "by the data's shares")


def test_too_few_images_for_an_extrapolation() -> None:
    images = open_images("mnist")
    for num, said in ((100, r"needs 128 real and as many .*; use --evaluate.num 128"), (128, "")):
        chosen = EvaluateSettings(num=num, metrics=("frechet-infinity",))
        with pytest.raises(UserError, match=said) if said else contextlib.nullcontext():
            Evaluator(chosen, images, "mnist", family_of(images), World())
