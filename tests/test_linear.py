"""The linear layer against torch's, to the second derivative."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from distgan.networks.kernels import linear


@pytest.mark.skipif(not linear.mkl_is_slow(), reason="this processor takes torch's own layer")
@pytest.mark.parametrize("relu", [False, True])
def test_onednn_gives_what_torch_gives(relu: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = linear.Linear(96, 64), nn.Linear(96, 64)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(32, 96)

    def derivatives(layer: nn.Module) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        out = layer(leaf, relu) if layer is ours else layer(leaf)
        out = out.relu() if relu and layer is theirs else out
        (slope,) = torch.autograd.grad(out.sin().sum(), leaf, create_graph=True)
        weight, bias = layer.parameters()
        first = torch.autograd.grad(out.sin().sum(), (weight, bias), retain_graph=True)
        second = torch.autograd.grad(slope.square().sum(), (leaf, weight))
        return [out, slope, *first, *second]

    assert type(ours(x, relu).grad_fn).__name__ == "_OneDNNLinearBackward"
    with torch.no_grad():
        expected = theirs(x).relu() if relu else theirs(x)
        torch.testing.assert_close(ours(x, relu), expected, rtol=1e-4, atol=1e-4)
    for found, other in zip(derivatives(ours), derivatives(theirs), strict=True):
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_does_not_gain_is_left_to_torch(dtype: torch.dtype) -> None:
    small = linear.Linear(8, 4).to(dtype)
    x = torch.randn(3, 8, dtype=dtype)
    expected = nn.functional.linear(x, small.weight, small.bias)
    torch.testing.assert_close(small(x), expected)
    torch.testing.assert_close(small(x, relu=True), expected.relu())
