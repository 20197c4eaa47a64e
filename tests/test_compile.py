"""Compiled networks train to the same weights."""

from __future__ import annotations

import shutil

import pytest
import torch

from distgan.config.settings import override
from distgan.errors import UserError
from distgan.parallel import World
from distgan.recipes import recipe

from .test_exactness import BATCH, TINY, distance, train

BASIS = {**TINY["mlp"], "batch": BATCH, "latent": 4, "precision": "float64"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_compiled_networks_train_to_the_same_weights() -> None:
    config = override(recipe("mnist-mlp-tutorial"), BASIS)
    compiled = override(config, {"compile": "on"})
    try:
        found = train(World(), compiled)
    finally:
        torch.compiler.reset()
    assert distance(found, train(World(), config)) < 1e-9


def test_compiled_networks_refuse_penalties_on_gradients() -> None:
    with pytest.raises(UserError, match=r"--compile on: .*--discriminator\.penalty\.r1"):
        override(recipe("mnist-mlp-tutorial"), {"compile": "on", "discriminator.penalty.r1": 1})


def test_graphs_of_single_networks_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        override(recipe("mnist-mlp-tutorial"), {"compile": "graphs"})
    assert str(caught.value) == (
        "--compile 'graphs': graphs of single networks cannot train a GAN, and whole updates are "
        "not captured yet; use on or off"
    )
