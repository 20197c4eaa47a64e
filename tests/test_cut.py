"""CUT and FastCUT beside the algorithm of Park et al. 2020, written as a straight line in float64.

Networks are computed from their weights alone, so that layers, places and projections are checked
too; the program shares no code with the package but the random numbers that it is given.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, pad

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.families import Batch, DataSpec, Family, build
from distgan.families.check import weights as weight_counts
from distgan.families.cut import some_places
from distgan.networks.philox import Place, key_of
from distgan.objectives.contrastive import patch_nce
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from .test_families import batch_of, config_of, largest_difference, new, train, weights

Weights = dict[str, Tensor]
TEMPERATURE, MOST = 0.2, 20


def instance_norm(maps: Tensor) -> Tensor:
    mean = maps.mean((2, 3), keepdim=True)
    return (maps - mean) / ((maps - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


def blurred(maps: Tensor) -> Tensor:
    """Every second value behind the filter [1, 2, 1] on both sides, edges reflected."""
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=maps.dtype)
    kernel = (taps[:, None] * taps / 16).repeat(maps.shape[1], 1, 1, 1)
    return conv2d(pad(maps, (1, 1, 1, 1), mode="reflect"), kernel, groups=maps.shape[1])[
        :, :, ::2, ::2
    ]


def convolved(maps: Tensor, w: Weights, name: str, **how: Any) -> Tensor:
    return conv2d(maps, w[f"{name}.weight"], w[f"{name}.bias"], **how)


def block(maps: Tensor, w: Weights, name: str) -> Tensor:
    once = convolved(pad(maps, (1, 1, 1, 1), mode="reflect"), w, f"{name}.layers.1")
    twice = pad(instance_norm(once).relu(), (1, 1, 1, 1), mode="reflect")
    return maps + instance_norm(convolved(twice, w, f"{name}.layers.5"))


def encoder(images: Tensor, w: Weights, antialias: bool) -> list[Tensor]:
    """Padded pixels, both halving convolutions, and two residual blocks."""
    stride, filtered = (1, blurred) if antialias else (2, lambda maps: maps)
    further = 1 if antialias else 0
    padded = pad(images, (3, 3, 3, 3), mode="reflect")
    maps = instance_norm(convolved(padded, w, "encoder.1.0")).relu()
    first = convolved(maps, w, "encoder.1.3", stride=stride, padding=1)
    maps = filtered(instance_norm(first).relu())
    second = convolved(maps, w, f"encoder.2.{2 + further}", stride=stride, padding=1)
    third = block(filtered(instance_norm(second).relu()), w, f"encoder.3.{2 + further}")
    return [padded, first, second, third, block(third, w, "encoder.4")]


def generator(images: Tensor, w: Weights, antialias: bool) -> Tensor:
    maps = encoder(images, w, antialias)[-1]
    for layer in (0, 4 if antialias else 3):
        if antialias:
            maps = interpolate(maps, scale_factor=2, mode="bilinear")
            maps = convolved(maps, w, f"decoder.{layer + 1}", padding=1)
        else:
            weight, bias = w[f"decoder.{layer}.weight"], w[f"decoder.{layer}.bias"]
            maps = conv_transpose2d(maps, weight, bias, 2, 1, output_padding=1)
        maps = instance_norm(maps).relu()
    padded = pad(maps, (3, 3, 3, 3), mode="reflect")
    return convolved(padded, w, f"decoder.{9 if antialias else 7}").tanh()


def discriminator(images: Tensor, w: Weights) -> Tensor:
    maps = convolved(images, w, "hidden.0.0", stride=2, padding=1)
    maps = torch.where(maps > 0, maps, 0.2 * maps)
    maps = instance_norm(convolved(maps, w, "hidden.1.0", padding=1))
    return convolved(torch.where(maps > 0, maps, 0.2 * maps), w, "last", padding=1)


def projected(rows: Tensor, w: Weights, layer: int) -> Tensor:
    """One image's vectors: (p, c) -> (p, width)."""
    name = f"layers.{layer}"
    hidden = (rows @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"]).clamp_min(0)
    found = hidden @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]
    return found / (found.square().sum(1, keepdim=True).sqrt() + 1e-7)


def noise_contrast(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Equations 3 and 4 for one layer of one image, a query at a time."""
    total = torch.zeros((), dtype=queries.dtype)
    for place, query in enumerate(queries):
        right = (query * keys[place]).sum() / temperature
        others = torch.cat([keys[:place], keys[place + 1 :]])
        wrong = (others @ query / temperature).exp().sum()
        total = total - (right.exp() / (right.exp() + wrong)).log()
    return total / len(queries)


def contrast(
    original: Tensor, made: Tensor, flipped: Tensor, chosen: list[Tensor], w: dict[str, Weights]
) -> Tensor:
    """The mean over images and layers, image by image."""
    antialias = w["antialias"] is not None
    of_originals = encoder(original, w["generator"], antialias)
    of_outputs = encoder(made, w["generator"], antialias)
    values = []
    for layer, places in enumerate(chosen):
        for image, where in enumerate(places):
            output = of_outputs[layer][image]
            output = output.flip(2) if flipped[image] else output
            query, key = (
                projected(maps.flatten(1)[:, where].T, w["projector"], layer)
                for maps in (output, of_originals[layer][image])
            )
            values.append(noise_contrast(query, key.detach(), TEMPERATURE))
    return torch.stack(values).mean()


def moved(adams: list[torch.optim.Optimizer], objective: Tensor, of: list[Tensor]) -> None:
    for weight, gradient in zip(of, torch.autograd.grad(objective, of), strict=True):
        weight.grad = gradient
    for adam in adams:
        adam.step()


def updated(
    w: dict[str, Any],
    adams: dict[str, torch.optim.Optimizer],
    x: Tensor,
    y: Tensor,
    flipped: Tensor,
    places: list[list[Tensor]],
    nce: float,
) -> None:
    """One step of the loop: D on G(x) as it is, then G and F, each by an Adam of its own."""
    aa, identity = w["antialias"] is not None, len(places) > 1
    turn = flipped.view(-1, 1, 1, 1)
    fake = generator(torch.where(turn, x.flip(3), x), w["generator"], aa)
    on_fake, on_real = (discriminator(each, w["discriminator"]) for each in (fake.detach(), y))
    loss = (on_fake.square().mean() + (on_real - 1).square().mean()) / 2
    moved([adams["discriminator"]], loss, list(w["discriminator"].values()))
    of_x = contrast(x, fake, flipped, places[0], w)
    if identity:
        same = generator(torch.where(turn, y.flip(3), y), w["generator"], aa)
        of_x = (of_x + contrast(y, same, flipped, places[1], w)) / 2
    fooling = (discriminator(fake, w["discriminator"]) - 1).square().mean()
    roles = "generator", "projector"
    moved(
        [adams[r] for r in roles], fooling + nce * of_x, [p for r in roles for p in w[r].values()]
    )


def places_of(config: RunConfig, batch: Batch, part: int, antialias: bool) -> list[Tensor]:
    """Random numbers of the program: where 16 x 16 images are looked at, layer by layer."""
    sizes = [22**2, *((16**2, 8**2) if antialias else (8**2, 4**2)), 4**2, 4**2]
    place = Place(key_of(config.seed, "places"), call=part)
    assert batch.numbers is not None
    return some_places(batch.numbers, sizes, MOST, place)


@pytest.mark.parametrize(
    ("nce", "identity", "flips", "antialias"),
    [(1.0, True, False, True), (10.0, False, True, True), (1.0, True, True, False)],
    ids=["cut", "fastcut", "both, strided"],
)
def test_three_updates_are_those_of_the_published_algorithm(
    nce: float, identity: bool, flips: bool, antialias: bool
) -> None:
    changes = {"nce": nce, "nce_identity": identity, "flip_equivariance": flips}
    config = config_of(
        "cut",
        batch=3,
        task="sets",
        places=MOST,
        temperature=TEMPERATURE,
        **changes,
        **{"generator.network.antialias": antialias, "generator.network.blocks": 2},
    )
    state = new(config, World())
    for net in state.networks.values():  # Starts of 0.02 leave little for errors to show.
        for weight in net.parameters:
            weight.data.mul_(20).add_(torch.linspace(-0.1, 0.1, weight.numel()).view_as(weight))
    w: dict[str, Any] = {"antialias": antialias or None}
    adams = {}
    for role, net in state.networks.items():
        w[role] = {name: copy.deepcopy(p) for name, p in net.network.named_parameters()}
        (group,) = net.optimizer.param_groups
        adams[role] = torch.optim.Adam(w[role].values(), group["lr"], group["betas"], group["eps"])
    assert {role for role in w if role != "antialias"} == {
        "generator",
        "projector",
        "discriminator",
    }
    for _ in range(3):
        batch = batch_of(state, config, state.images_seen)
        x, y = batch.columns["image"], batch.columns["other"]
        flipped = batch.draws["flip"][:, 0] > 0.5 if flips else torch.zeros(3, dtype=torch.bool)
        parts = range(2 if identity else 1)
        places = [places_of(config, batch, part, antialias) for part in parts]
        updated(w, adams, x, y, flipped, places, nce)
        state.step([batch])
    for role, net in state.networks.items():
        for name, found in net.network.named_parameters():
            expected = w[role][name]
            assert (found - expected).norm() <= 1e-10 * expected.norm(), (role, name)


def some_vectors(*shape: int, seed: int = 0) -> Tensor:
    found = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return found / found.norm(dim=-1, keepdim=True)


def test_the_contrastive_loss_has_its_closed_forms() -> None:
    apart = torch.eye(7, dtype=torch.float64)[None]
    for temperature in (0.07, 1.0):
        expected = math.log1p(6 * math.exp(-1 / temperature))
        assert patch_nce(apart, apart, temperature).item() == pytest.approx(expected, abs=1e-12)
        alike = apart[:, :1].expand(2, 7, 7)
        torch.testing.assert_close(
            patch_nce(alike, alike, temperature), torch.full((2,), math.log(7)).double()
        )
    # As bad as can be: every query is opposite to its own key, and at right angles to others.
    worst = math.log(6 + math.exp(-1 / 0.5)) + 1 / 0.5
    assert patch_nce(apart, -apart, 0.5).item() == pytest.approx(worst, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_contrastive_loss_is_that_of_each_query_and_of_the_published_code(
    temperature: float,
) -> None:
    queries, keys = some_vectors(3, 9, 5), some_vectors(3, 9, 5, seed=1)
    found = patch_nce(queries, keys, temperature)
    for image in range(3):
        expected = noise_contrast(queries[image], keys[image], temperature)
        torch.testing.assert_close(found[image], expected, rtol=1e-12, atol=1e-12)
    # There the right key is set apart, and its place among the others filled with -10.
    products = torch.einsum("npd,nqd->npq", queries, keys)
    right = products.diagonal(dim1=1, dim2=2).clone()
    products.diagonal(dim1=1, dim2=2).fill_(-10)
    choices = torch.cat([right[..., None], products], 2) / temperature
    published = -choices.log_softmax(2)[..., 0].mean(1)
    torch.testing.assert_close(found, published, rtol=1e-6, atol=1e-12)


def test_the_contrastive_loss_has_its_gradient_in_the_queries_alone() -> None:
    queries = some_vectors(2, 4, 3).requires_grad_()
    keys = some_vectors(2, 4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: patch_nce(q, keys.detach(), 0.3), (queries,))
    assert (
        torch.autograd.grad(
            patch_nce(queries, keys, 0.3).sum(), (queries, keys), allow_unused=True
        )[1]
        is None
    )
    (slopes,) = torch.autograd.grad(patch_nce(queries, keys, 0.3)[0], queries)
    assert slopes[0].norm() > 0
    assert slopes[1].norm() == 0


def part_of(batch: Batch, rows: slice) -> Batch:
    columns = {name: images[rows] for name, images in batch.columns.items()}
    draws = {name: numbers[rows] for name, numbers in batch.draws.items()}
    assert batch.numbers is not None
    return Batch(columns, draws, numbers=batch.numbers[rows])


def contrasts(state: TrainingState, batch: Batch) -> dict[str, Tensor]:
    *_, phase = state.family.phases(0)
    means = phase.terms(state.training_step(), batch, None).means
    return {name: value.detach() for name, value in means.items() if "nce" in name}


@pytest.mark.parametrize("family", ["cut", "cut, fast"])
def test_the_contrastive_loss_is_of_each_sample_alone(family: str) -> None:
    config = config_of(family, task="sets", batch=5)
    state = new(config, World())
    batch = batch_of(state, config, 0)
    whole = contrasts(state, batch)
    assert len(whole) == (2 if family == "cut" else 1)
    alone = [contrasts(state, part_of(batch, slice(n, n + 1))) for n in range(5)]
    for name, value in whole.items():
        expected = torch.stack([each[name] for each in alone])
        assert expected.std() > 1e-6
        torch.testing.assert_close(value, expected.mean(), rtol=1e-12, atol=0)
    assert batch.numbers is not None
    others = contrasts(state, replace(batch, numbers=batch.numbers + 100))
    assert all((others[name] - value).abs() > 1e-9 for name, value in whole.items())


def test_places_are_the_samples_own_none_twice_and_equally_likely() -> None:
    place = Place(key_of(3, "places"))
    numbers = torch.arange(4_000)
    few, every = some_places(numbers, (10, 3), 4, place)
    assert (few.shape, every.shape) == ((4_000, 4), (4_000, 3))
    assert (every == torch.arange(3)).all()
    chosen = torch.zeros(4_000, 10).scatter_add_(1, few, torch.ones(few.shape))
    assert chosen.max() == 1
    both = chosen.T @ chosen
    for found, likely in (
        (both.diagonal(), 4 / 10),
        (both[torch.ones(10, 10).triu(1) > 0], 12 / 90),
    ):
        assert ((found - 4_000 * likely).abs() < 5 * (4_000 * likely * (1 - likely)) ** 0.5).all()
    some = torch.tensor([17, 5, 3_999])
    assert torch.equal(some_places(some, (10, 3), 4, place)[0], few[some])
    for other in (Place(key_of(3, "places"), call=1), Place(key_of(4, "places"))):
        assert (some_places(numbers, (10, 3), 4, other)[0] != few).any(1).float().mean() > 0.9
    one, another = some_places(numbers, (10, 10), 4, place)
    assert (one != another).any(1).float().mean() > 0.9


def test_a_step_in_bfloat16_is_finite_and_moves_all() -> None:
    config = config_of("cut", precision="bf16")
    state = new(config, World())
    before = weights(state)
    after = weights(train(state, config, 1))
    assert state.finite()
    for role in state.networks:
        assert any((after[role][name] != before[role][name]).any() for name in after[role])


def test_identity_and_mirroring_change_what_is_learned() -> None:
    found = []
    changes: list[dict[str, Any]] = [{}, {"nce_identity": False}, {"flip_equivariance": True}]
    for change in (*changes, {"places": 41}, {"temperature": 0.1}):
        config = config_of("cut", **change)
        found.append(weights(train(new(config, World()), config, 1)))
    for other in found[1:]:
        assert largest_difference(found[0], other) > 1e-6


def test_published_recipes_have_the_published_sizes_and_rates() -> None:
    square = ImageShape(3, 256, 256)
    data = DataSpec(square, other=square)
    for name, first, last in (("cut-256", 200, 400), ("fastcut-256", 150, 200)):
        config = recipe(name)
        counts = {"generator": 11_378_179, "projector": 560_384, "discriminator": 2_764_737}
        assert weight_counts(config, data) == counts
        assert config.images == last * 1_334
        (rate,) = {getattr(config, role).optimizer.lr for role in counts}
        assert [rate.at(epoch * 1_334) for epoch in (0, first, (first + last) // 2, last)] == (
            pytest.approx([2e-4, 2e-4, 1e-4, 0])
        )
        assert list(build(config, data).columns()) == ["image", "other"]


def checked(family: Family) -> None:
    family.check_data()
    family.networks()


@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        (
            {"generator.network.name": "unet"},
            DataSpec(ImageShape(1, 32, 32)),
            "--generator.network.name unet: gives no features of its layers.*; use resnet",
        ),
        (
            {"task": "gray"},
            DataSpec(ImageShape(3, 32, 32)),
            "--task gray: inputs are 1x32x32 and outputs 3x32x32, but cut .*use another task",
        ),
        (
            {"task": "sets", "data_b": "b"},
            DataSpec(ImageShape(3, 32, 32), other=ImageShape(3, 32, 64)),
            "--data_b b: inputs are 3x32x32 and outputs 3x32x64, but cut .*prepare both",
        ),
        (
            {"task": "sets"},
            DataSpec(ImageShape(3, 32, 32)),
            "--data_b: names no set",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], data: DataSpec, message: str) -> None:
    config = override(recipe("edges2digits-cut"), changes)
    with pytest.raises(UserError, match=message):
        checked(build(config, data))


def test_a_contrastive_loss_of_no_weight_is_refused() -> None:
    with pytest.raises(UserError, match="--nce 0: without the contrastive loss nothing ties"):
        override(recipe("edges2digits-cut"), {"nce": 0})
