"""Layers that draw by the sample's number: masks, noise, and where they may be used."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from distgan.networks.random import (
    Reparameterise,
    SampleDropout,
    SampleNoise,
    checkpointed,
    normal_draws,
    number_layers,
    sample_numbers,
)
from distgan.parallel import World

from .ranks import on_ranks


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Two of each layer, with a strength that is not 0."""
    layers = [SampleDropout(0.3), nn.Conv2d(2, 4, 3, padding=1), SampleNoise(), SampleDropout(0.5)]
    made = nn.Sequential(*layers, nn.Tanh(), SampleNoise(4)).to(dtype)
    for parameter in made.parameters():
        nn.init.constant_(parameter, 0.25)
    assert number_layers(made) == 4
    return made


def maps(rows: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.linspace(0.5, 1.5, rows * 2 * 36, dtype=dtype).view(rows, 2, 6, 6)


NUMBERS = torch.arange(1000, 1008)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_does_not_depend_on_its_batch(dtype: torch.dtype) -> None:
    net, x = network(dtype), maps(8, dtype)
    with sample_numbers(5, "g", NUMBERS):
        whole = net(x)
    assert whole.dtype == dtype
    # The parts are also what two ranks would see.
    for rows in (slice(0, 3), slice(3, 8), slice(7, 8)):
        with sample_numbers(5, "g", NUMBERS[rows]):
            torch.testing.assert_close(net(x[rows]), whole[rows], rtol=1e-6, atol=1e-6)
    for seed, stream in [(6, "g"), (5, "d")]:
        with sample_numbers(seed, stream, NUMBERS):
            assert not torch.allclose(net(x), whole)


def masks(layer: SampleDropout, rows: Tensor, stream: str = "g", calls: int = 1) -> Tensor:
    with sample_numbers(0, stream, rows):
        return torch.stack([layer(torch.ones(len(rows), 50)) == 0 for _ in range(calls)])


def test_masks_are_equal_to_the_bit_on_any_division_and_precision() -> None:
    layer = SampleDropout()
    number_layers(layer)
    whole = masks(layer, NUMBERS)[0]
    assert torch.equal(masks(layer, NUMBERS[:3])[0], whole[:3])
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        with sample_numbers(0, "g", NUMBERS):
            dropped = layer(torch.ones(8, 50, dtype=dtype))
        assert dropped.dtype == dtype
        assert torch.equal(dropped == 0, whole)
        assert set(dropped.unique().tolist()) == {0.0, 2.0}


def test_calls_layers_and_streams_draw_anew() -> None:
    layers = nn.ModuleList([SampleDropout(), SampleDropout()])
    number_layers(layers)
    seen = [*masks(layers[0], NUMBERS, calls=2), *masks(layers[1], NUMBERS)]  # type: ignore[arg-type]
    seen += [*masks(layers[0], NUMBERS, "other"), *masks(layers[0], NUMBERS + 8)]  # type: ignore[arg-type]
    for index, mask in enumerate(seen):
        assert not any(torch.equal(mask, other) for other in seen[:index])
    assert torch.equal(masks(layers[0], NUMBERS, calls=2), torch.stack(seen[:2]))  # type: ignore[arg-type]


def test_rows_of_several_streams() -> None:
    layer = SampleDropout()
    number_layers(layer)
    with sample_numbers(0, ["real", "fake"], [NUMBERS[:5], NUMBERS[2:]]):
        both = layer(torch.ones(11, 50)) == 0
    assert torch.equal(both[:5], masks(layer, NUMBERS[:5], "real")[0])
    assert torch.equal(both[5:], masks(layer, NUMBERS[2:], "fake")[0])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_by_its_share_and_mean(p: float) -> None:
    layer = SampleDropout(p)
    number_layers(layer)
    with sample_numbers(1, "g", torch.arange(100)):
        out = layer(torch.ones(100, 20, 10, 10, dtype=torch.float64))
    n = out.numel()
    assert abs((out != 0).double().mean().item() - (1 - p)) < 5 * (p * (1 - p) / n) ** 0.5
    assert abs(out.mean().item() - 1) < 5 * (p / (1 - p) / n) ** 0.5
    # No pixel, channel or sample is dropped more often than others.
    for dims in [(0, 1), (0, 2, 3), (1, 2, 3)]:
        shares = (out == 0).double().mean(dims)
        assert (shares - p).abs().max() < 5 * (p * (1 - p) * shares.numel() / n) ** 0.5


def test_noise_is_one_number_a_pixel_and_starts_at_nothing() -> None:
    layer = SampleNoise(3)
    number_layers(layer)
    x = torch.zeros(20, 3, 40, 40, dtype=torch.float64)
    with sample_numbers(1, "g", torch.arange(20)):
        assert torch.equal(layer(x), x)
    layer.double().strength.data[:] = torch.tensor([1.0, 2.0, 0.0]).view(3, 1, 1)
    with sample_numbers(1, "g", torch.arange(20)):
        out = layer(x)
    assert torch.equal(out[:, 1], 2 * out[:, 0])
    assert not out[:, 2].any()
    n = out[:, 0].numel()
    assert abs(out[:, 0].mean().item()) < 5 / n**0.5
    assert abs(out[:, 0].var().item() - 1) < 5 * (2 / n) ** 0.5


def test_reparameterisation_by_its_moments() -> None:
    layer = Reparameterise()
    number_layers(layer)
    mean, log_variance = torch.full((20_000, 5), 2.0), torch.full((20_000, 5), 0.5).log()
    with sample_numbers(1, "z", torch.arange(20_000)):
        z = layer(mean, log_variance).double()
    assert abs(z.mean().item() - 2) < 5 * (0.5 / z.numel()) ** 0.5
    assert abs(z.var().item() - 0.5) < 5 * 0.5 * (2 / z.numel()) ** 0.5


def test_outside_a_context() -> None:
    net = network()
    with pytest.raises(RuntimeError, match=r"SampleDropout draws .* sample_numbers.*eval"):
        net(maps())
    with pytest.raises(RuntimeError, match="SampleNoise draws"):
        net[2](maps())
    net.eval()
    x = maps()
    assert net[0](x) is x
    # Noise counts rows, whatever the batch.
    torch.testing.assert_close(net(x)[:3], net(x[:3]), rtol=1e-6, atol=1e-6)
    assert not torch.equal(net[2](x), x)
    with sample_numbers(3, "g", NUMBERS):
        given = net[2](x)
    with sample_numbers(3, "g", NUMBERS.flip(0)):
        torch.testing.assert_close(net[2](x.flip(0)).flip(0), given, rtol=0, atol=0)


def test_misuse_is_named() -> None:
    layer = SampleDropout()
    with sample_numbers(0, "g", NUMBERS), pytest.raises(RuntimeError, match="number_layers"):
        layer(maps())
    number_layers(layer)
    with sample_numbers(0, "g", NUMBERS), pytest.raises(RuntimeError, match=r"got 3 .* given 8"):
        layer(maps(3))
    with pytest.raises(ValueError, match=r"int64 \(n,\)"), sample_numbers(0, "g", torch.zeros(3)):
        pass
    with pytest.raises(ValueError, match="do not pair"), sample_numbers(0, ["a", "b"], NUMBERS):
        pass
    with pytest.raises(ValueError, match="less than 1"):
        SampleDropout(1.0)


def test_numbers_of_layers_follow_the_modules_and_their_copies() -> None:
    net = network()
    assert [net[i].number for i in (0, 2, 3, 5)] == [0, 1, 2, 3]
    assert [copy.deepcopy(net)[i].number for i in (0, 5)] == [0, 3]
    assert number_layers(net, 10) == 14


def test_an_inner_context_ends_with_its_block() -> None:
    layer = SampleDropout()
    number_layers(layer)
    ones = torch.ones(8, 50)
    with sample_numbers(0, "g", NUMBERS):
        with sample_numbers(0, "d", NUMBERS):
            inner = layer(ones) == 0
        outer = layer(ones) == 0
    assert torch.equal(inner, masks(layer, NUMBERS, "d")[0])
    assert torch.equal(outer, masks(layer, NUMBERS)[0])


def test_under_autocast() -> None:
    net = network()
    with sample_numbers(5, "g", NUMBERS):
        exact = net(maps())
    with sample_numbers(5, "g", NUMBERS), torch.autocast("cpu", torch.bfloat16):
        rounded = net(maps())
        assert net[1](maps()).dtype == torch.bfloat16
    # tanh keeps bfloat16, and the noise after it is cast to that.
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < 0.05


def test_differentiated_twice() -> None:
    net = network(torch.float64)
    x = maps(2, torch.float64)[..., :2, :2].clone().requires_grad_()

    def out(x: Tensor) -> Tensor:
        with sample_numbers(5, "g", NUMBERS[:2]):
            return net(x).square().mean((1, 2, 3))

    assert torch.autograd.gradgradcheck(out, (x,))


@pytest.mark.parametrize("within", [True, False])
def test_activations_computed_again_draw_the_same(within: bool) -> None:
    net = network()

    def gradients(through: bool) -> list[Tensor]:
        x = maps().requires_grad_()
        with sample_numbers(5, "g", NUMBERS):
            out = checkpointed(net, x) if through else net(x)
            # A layer called again, so that the number of calls moves on.
            loss = out.sum() + net(x).square().sum()
            if within:
                return list(torch.autograd.grad(loss, [x, *net.parameters()]))
        return list(torch.autograd.grad(loss, [x, *net.parameters()]))

    for plain, again in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, again)


def test_torch_checkpoint_alone_is_refused_after_the_context() -> None:
    net, x = network(), maps().requires_grad_()
    with sample_numbers(5, "g", NUMBERS):
        out = checkpoint(net, x, use_reentrant=False)
    with pytest.raises(RuntimeError, match="sample_numbers"):
        out.sum().backward()


def test_global_generator_is_left_alone() -> None:
    net, state = network(), torch.get_rng_state()
    with sample_numbers(5, "g", NUMBERS):
        first = net(maps())
    torch.manual_seed(99)
    with sample_numbers(5, "g", NUMBERS):
        assert torch.equal(net(maps()), first)
    torch.set_rng_state(state)
    with sample_numbers(5, "g", NUMBERS):
        net(maps())
    assert torch.equal(torch.get_rng_state(), state)


def gradients(world: World) -> list[Tensor]:
    """Of a mean over 8 samples, this rank's share of them through DDP."""
    net: nn.Module = network(torch.float64)
    if world.size > 1:
        net = DistributedDataParallel(net)
    share = world.share(8)
    with sample_numbers(5, "g", NUMBERS[share]):
        out = net(maps(8, torch.float64)[share])
    # DDP takes the mean of the ranks' gradients.
    (out.square().sum() * world.size / 8).backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


@pytest.mark.slow
def test_ranks_have_the_gradient_of_one_process(tmp_path: Path) -> None:
    right = gradients(World(0, 1))
    assert len(right) == 4
    for found in on_ranks(2, gradients, tmp_path):
        for ours, theirs in zip(found, right, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_draws_of_a_sample_come_in_any_part() -> None:
    whole = normal_draws(0, "bound", NUMBERS, range(10), 5)
    assert whole.shape == (8, 10, 5)
    part = normal_draws(0, "bound", NUMBERS[2:4], range(3, 7), 5)
    assert torch.equal(part, whole[2:4, 3:7])
    assert len(whole.flatten().unique()) > 395
    with pytest.raises(ValueError, match="at most 1048576"):
        normal_draws(0, "bound", NUMBERS, range(2**20 + 1), 5)


@pytest.mark.slow
def test_compiled_networks_draw_the_same_and_do_not_compile_the_draws() -> None:
    net, x = network(), maps()
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        graphs.append(len([node for node in graph.graph.nodes if node.op.startswith("call")]))
        return graph.forward

    compiled = torch.compile(net, backend=backend)
    for first in range(4):
        numbers = NUMBERS + first
        with sample_numbers(5, "g", numbers):
            found = compiled(x)
        with sample_numbers(5, "g", numbers):
            torch.testing.assert_close(found, net(x), rtol=1e-6, atol=1e-6)
    # Philox alone is more than a hundred operations, and other numbers are no other graph.
    assert 0 < sum(graphs) < 40
