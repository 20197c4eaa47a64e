"""Spectral normalisation against numpy's singular values and finite differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from distgan.networks.spectral import SpectralNorm, spectral_norm, spectral_norms

LAYERS = {
    "linear": lambda: nn.Linear(7, 5),
    "convolution": lambda: nn.Conv2d(3, 6, 3),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3),
    "embedding": lambda: nn.Embedding(9, 4),
}
EVERY = pytest.mark.parametrize("kind", LAYERS)


def normalised(kind: str, iterations: int = 0) -> tuple[nn.Module, SpectralNorm]:
    torch.manual_seed(3)
    module = spectral_norm(LAYERS[kind]().double())
    (norm,) = spectral_norms(module)
    norm.advance(iterations)
    return module, norm


def matrix(module: nn.Module, weight: Tensor) -> np.ndarray:
    if isinstance(module, nn.ConvTranspose2d):
        weight = weight.transpose(0, 1)
    return weight.detach().reshape(len(weight), -1).numpy()


def original(module: nn.Module) -> Tensor:
    return module.parametrizations.weight.original


@EVERY
def test_weight_is_divided_by_its_largest_singular_value(kind: str) -> None:
    module, _ = normalised(kind, iterations=2000)
    raw = matrix(module, original(module))
    largest = np.linalg.svd(raw, compute_uv=False)[0]
    np.testing.assert_allclose(matrix(module, module.weight), raw / largest, rtol=1e-9)


@EVERY
def test_the_first_estimate_is_close(kind: str) -> None:
    module, _ = normalised(kind)
    found = np.linalg.svd(matrix(module, module.weight), compute_uv=False)[0]
    assert 1 <= found < 1.1  # an estimate never exceeds the largest singular value


def test_a_forward_leaves_the_estimate_and_advance_moves_it() -> None:
    module, norm = normalised("convolution")
    before = copy.deepcopy(norm.state_dict())
    module.train()(torch.randn(2, 3, 5, 5).double()).sum().backward()
    module.train()(torch.randn(2, 3, 5, 5).double())
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
    with torch.no_grad():
        original(module)[0] += 1
    norm.advance()
    assert not torch.equal(before["u"], norm.u)
    assert not torch.equal(before["v"], norm.v)
    v = matrix(module, original(module)).T @ before["u"].numpy()
    np.testing.assert_allclose(norm.v.numpy(), v / np.linalg.norm(v), rtol=1e-12)
    u = matrix(module, original(module)) @ norm.v.numpy()
    np.testing.assert_allclose(norm.u.numpy(), u / np.linalg.norm(u), rtol=1e-12)


def test_a_backward_after_advance_is_that_of_its_own_forward() -> None:
    module, norm = normalised("linear")
    x = torch.randn(4, 7).double()
    expected = torch.autograd.grad(module(x).square().sum(), original(module))[0]
    loss = module(x).square().sum()
    norm.advance(3)
    assert torch.equal(torch.autograd.grad(loss, original(module))[0], expected)


@EVERY
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    module, norm = normalised(kind)
    weight = original(module).detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(norm, weight)
    assert torch.autograd.gradgradcheck(norm, weight)


def test_a_gradient_penalty_through_it_is_exact() -> None:
    module, norm = normalised("convolution")
    x = torch.randn(2, 3, 4, 4).double().requires_grad_()

    def penalty(weight: Tensor) -> Tensor:
        out = nn.functional.conv2d(x, norm(weight)).tanh().sum()
        return torch.autograd.grad(out, x, create_graph=True)[0].square().sum()

    assert torch.autograd.gradcheck(penalty, original(module).detach().clone().requires_grad_())


def test_the_state_survives_saving_copying_and_casting() -> None:
    source, norm = normalised("transposed")
    network = nn.Sequential(source, spectral_norm(nn.Conv2d(6, 2, 3)).double())
    saved = load_tensors(save_tensors(network.state_dict()))
    other = nn.Sequential(
        spectral_norm(nn.ConvTranspose2d(4, 6, 3)), spectral_norm(nn.Conv2d(6, 2, 3))
    ).double()
    other.load_state_dict(saved)
    assert sorted(name for name in saved if name.endswith(".u")) == [
        "0.parametrizations.weight.0.u",
        "1.parametrizations.weight.0.u",
    ]
    assert set(dict(network.named_parameters())) == {
        f"{layer}.{name}"
        for layer in (0, 1)
        for name in ("bias", "parametrizations.weight.original")
    }
    x = torch.randn(1, 4, 6, 6).double()
    for twin in (other, copy.deepcopy(network), copy.deepcopy(network).float().double()):
        twin.to(memory_format=torch.channels_last)
        torch.testing.assert_close(twin(x), network(x), rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(2)
        # A power iteration is of the twin's own weights, from then on equal to the source's.
        for mine, theirs in zip(spectral_norms(twin), spectral_norms(network), strict=True):
            mine.advance(50)
            assert mine.u.data_ptr() != theirs.u.data_ptr()
            theirs.advance(50)
            torch.testing.assert_close(mine.u, theirs.u, rtol=1e-5, atol=1e-6)
        network.load_state_dict(saved)
    assert norm is spectral_norms(network)[0]


def test_a_copy_iterates_on_its_own_weight_without_looking_it_up_again() -> None:
    module, norm = normalised("linear")
    twin = copy.deepcopy(module)
    with torch.no_grad():
        original(twin).zero_()
        original(twin)[2, 4] = 3.0
    twin.parametrizations.weight[0].advance()
    assert twin.weight[2, 4] == 1
    assert norm.u[2].abs() < 1


def test_replaced_parameters_are_found_again() -> None:
    module, norm = normalised("linear")
    state = {name: value.clone() for name, value in module.state_dict().items()}
    state["parametrizations.weight.original"] *= 0
    state["parametrizations.weight.original"][1, 1] = 2
    module.load_state_dict(state, assign=True)
    (norm,) = spectral_norms(module)
    norm.advance()
    assert module.weight[1, 1] == 1
