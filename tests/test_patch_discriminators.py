"""Discriminators of patches: sizes of their maps, what a logit sees, and their hidden layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from distgan.networks import PATCH_DISCRIMINATORS

from .translating import NORMS, judge, pixels, shaken, square


@pytest.mark.parametrize(
    ("side", "layers", "logits"),
    [(256, 3, 30), (28, 1, 12), (28, 2, 5), (28, 3, 1), (32, 1, 14), (32, 2, 6), (32, 3, 2)],
)
def test_maps_of_logits_have_the_published_sides(side: int, layers: int, logits: int) -> None:
    with torch.device("meta"):
        network = judge("patchgan", square(1, side), layers=layers, norm="instance")
        assert network(torch.zeros(2, 1, side, side)).shape == (2, 1, logits, logits)


@pytest.mark.parametrize(
    ("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286), (0, 1)]
)
def test_a_logit_sees_the_published_patch(layers: int, field: int) -> None:
    torch.manual_seed(0)
    side = max(2 * field, 64)
    name, depth = ("patchgan", {"layers": layers}) if layers else ("pixelgan", {})
    # An instance norm would let every logit see everything.
    network = judge(name, square(1, side), norm="none", width=1, **depth)
    # With random numbers a path may be lost where products are too small for their type.
    network = shaken(network)
    x = pixels(1, 1, side, side).requires_grad_()
    logits = network(x)
    middle = logits.shape[2] // 2
    (seen,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    for along in (0, 1):
        (places,) = seen[0, 0].abs().sum(along).nonzero(as_tuple=True)
        assert int(places[-1] - places[0]) + 1 == field


@pytest.mark.parametrize("name", PATCH_DISCRIMINATORS)
def test_hidden_layers_are_those_that_lead_to_the_logits(name: str) -> None:
    torch.manual_seed(0)
    network = shaken(judge(name, square(2, 28), norm="instance", width=4))
    x = pixels(2, 2, 28, 28)
    logits, features = network.with_features(x)
    assert torch.equal(logits, network(x))
    assert len(features) == network.depth == (4 if name == "patchgan" else 2)
    assert torch.equal(network.last(features[-1]), logits)
    (slope,) = torch.autograd.grad(logits.sum(), features[0])
    assert slope.abs().sum() > 0
    for layer in features:
        # Behind a leaky ReLU of 0.2, in place: what is below zero is less than what is above.
        assert layer.min() < 0 < layer.max()


def test_gradient_penalties_can_be_differentiated() -> None:
    torch.manual_seed(0)
    for norm in NORMS:
        network = shaken(judge("patchgan", square(1, 12), layers=1, width=1, norm=norm))
        names = [name for name, _ in network.named_parameters()]

        def penalty(x: Tensor, *weights: Tensor, network: Any = network, names: Any = names) -> Any:
            given = dict(zip(names, weights, strict=True))
            logits = torch.func.functional_call(network, given, (x,))
            (slope,) = torch.autograd.grad(logits.square().sum(), x, create_graph=True)
            return slope.square().sum()

        weights = [weight.detach().clone().requires_grad_() for weight in network.parameters()]
        inputs = (pixels(2, 1, 12, 12).requires_grad_(), *weights)
        assert torch.autograd.gradcheck(
            penalty, inputs, eps=1e-6, rtol=1e-4, atol=1e-5, fast_mode=True
        )
