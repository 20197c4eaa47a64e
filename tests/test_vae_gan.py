"""The VAE-GAN beside algorithm 1 of Larsen et al. 2016, written as a straight line in float64."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from distgan.cli import main
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.families import Batch, DataSpec
from distgan.families.balance import Balance
from distgan.families.check import check_networks
from distgan.health.diagnosis import suspect
from distgan.networks.sngan import DiscriminatorBlock
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.runs.export import load_discriminator
from distgan.training.state import TrainingState

from . import ranks
from .small import small_discriminator
from .test_families import (
    batch_of,
    config_of,
    largest_difference,
    new,
    train,
    weights,
)
from .test_reconstruct import exported, images_of

BETA, GAMMA = 0.7, 0.3


def model_of(**changes: Any) -> tuple[TrainingState, RunConfig]:
    config = config_of("vae-gan", **changes)
    return new(config, World()), config


def judged(network: nn.Module, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logits, and the second hidden layer, by the weights of a fully connected discriminator."""
    hidden = images.flatten(1)
    if labels is not None:
        hidden = torch.cat([hidden, network.input.embed.weight[labels]], 1)
    first, second, last = (layer for layer in network.layers if isinstance(layer, nn.Linear))
    hidden = (hidden @ first.weight.T + first.bias).clamp_min(0)
    hidden = (hidden @ second.weight.T + second.bias).clamp_min(0)
    return (hidden @ last.weight.T + last.bias)[:, 0], hidden


def algorithm_1(
    networks: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
    batch: Batch,
    loss: str,
    r1: float,
) -> None:
    """One pass of the loop, with all gradients taken from one graph before anything moves."""
    encoder, decoder, discriminator = networks.values()
    x, y = batch.columns["image"], batch.labels
    mean, log_variance = encoder(x, y)
    z = mean + (0.5 * log_variance).exp() * batch.draws["noise"]
    prior = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    made, sampled = decoder(z, y), decoder(batch.draws["generator"], y)
    x = x.clone().requires_grad_()
    real, of_real = judged(discriminator, x, y)
    fake, of_fake = judged(discriminator, made, y)
    drawn, _ = judged(discriminator, sampled, y)
    likeness = -0.5 * ((of_real - of_fake) ** 2).sum(1).mean()
    game = logsigmoid(real).mean() + (logsigmoid(-fake) + logsigmoid(-drawn)).mean() / 2
    fooling = game if loss == "minimax" else -(logsigmoid(fake) + logsigmoid(drawn)).mean() / 2
    slopes = torch.autograd.grad(real.sum(), x, create_graph=True)[0]
    wanted = {
        "encoder": BETA * prior - likeness,
        "generator": -GAMMA * likeness + fooling,
        "discriminator": -game + r1 / 2 * slopes.square().sum((1, 2, 3)).mean(),
    }
    gradients = {
        role: torch.autograd.grad(
            objective, list(networks[role].parameters()), retain_graph=True, allow_unused=True
        )
        for role, objective in wanted.items()
    }
    for role, found in gradients.items():
        for parameter, gradient in zip(networks[role].parameters(), found, strict=True):
            parameter.grad = gradient
        optimizers[role].step()


@pytest.mark.parametrize(
    ("loss", "conditional", "r1"),
    [("minimax", False, 0.0), ("non-saturating", False, 0.5), ("non-saturating", True, 0.0)],
)
def test_three_updates_are_those_of_algorithm_1(loss: str, conditional: bool, r1: float) -> None:
    changes = {"loss": loss, "conditional": conditional, "beta": BETA, "gamma": GAMMA}
    penalty = {"discriminator.penalty.r1": r1, "discriminator.penalty.every": 0}
    state, config = model_of(**changes, **penalty, feature_layer=2)
    networks = {role: copy.deepcopy(net.network) for role, net in state.networks.items()}
    assert list(networks) == ["encoder", "generator", "discriminator"]
    optimizers: dict[str, torch.optim.Optimizer] = {}
    for role, network in networks.items():
        (group,) = state.networks[role].optimizer.param_groups
        assert group["lr"] > 1e-4
        optimizers[role] = torch.optim.Adam(
            network.parameters(), group["lr"], group["betas"], group["eps"]
        )
    for _ in range(3):
        batch = batch_of(state, config, state.images_seen)
        algorithm_1(networks, optimizers, batch, loss, r1)
        state.step([batch])
    for role, network in networks.items():
        expected = dict(network.named_parameters())
        for name, found in state.networks[role].network.named_parameters():
            torch.testing.assert_close(found, expected[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        # What one network's gradient has no part in leaves that network as it was.
        ({"gamma": 0.9}, {"generator"}),
        ({"beta": 0.1}, {"encoder"}),
        ({"free_bits": 3.0}, {"encoder"}),
        ({"loss": "minimax"}, {"generator"}),
        ({"loss": "hinge"}, {"generator", "discriminator"}),
        ({"feature_layer": 2}, {"encoder", "generator"}),
    ],
    ids=lambda value: ",".join(sorted(map(str, value))),
)
def test_every_network_has_the_gradients_of_its_own_terms(
    changes: dict[str, Any], others: set[str]
) -> None:
    found = []
    for changed in ({}, changes):
        state, config = model_of(**changed)
        found.append(weights(train(state, config, 1)))
    for role in ("encoder", "generator", "discriminator"):
        same = all(torch.equal(found[0][role][n], found[1][role][n]) for n in found[0][role])
        assert same != (role in others), role


VARIANTS: dict[str, dict[str, Any]] = {
    # LeCam gives the last bias a gradient, of which such a loss has only rounding errors.
    "coupled": {
        "loss": "relativistic-average",
        "generator.top_k": 0.5,
        "discriminator.penalty.lecam": 0.1,
    },
    "pairs": {
        "loss": "relativistic",
        "discriminator.penalty.r2": 1,
        "discriminator.penalty.lecam": 0.1,
    },
    "auxiliary": {"conditional": True, "discriminator.network.conditioning": "auxiliary"},
    "augmented": {"discriminator.augment.name": "ada", "discriminator.penalty.wgan_gp": 1},
    "dragan": {"discriminator.penalty.dragan": 1},
    "updates": {"discriminator.updates": 2, "share_fakes": False},
    "rests": {"rest_margin": 0.03},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_micro_batches_change_nothing_in_any_variant(variant: str) -> None:
    found = []
    for accumulate in (1, 2):
        state, config = model_of(**VARIANTS[variant], accumulate=accumulate)
        found.append(weights(train(state, config, 4)))
    assert largest_difference(*found) < 1e-9


def on_a_rank(world: World, variant: str) -> Any:
    config = config_of("vae-gan", **VARIANTS[variant])
    return weights(train(new(config, world), config, 4))


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_ranks_change_nothing_in_any_variant(tmp_path: Path, variant: str) -> None:
    for each in ranks.on_ranks(3, on_a_rank, tmp_path, variant):
        assert largest_difference(on_a_rank(World(), variant), each) < 1e-9


def test_who_rests_is_decided_by_the_last_batch() -> None:
    even = torch.zeros(4, dtype=torch.float64)
    for real, fake, resting in (
        (even, even, ""),
        (even + 1, even - 1, "discriminator"),
        (even + 1, even, "discriminator"),
        (even, even + 1, "generator"),
        (even - 1, even - 1, ""),  # Both would.
    ):
        balance = Balance(0.2, torch.device("cpu"))
        assert balance.resting == ""
        for part in (slice(0, 1), slice(1, 4)):
            balance.observe(real[part], fake[part], len(real[part]) / 4)
        balance.after_step(World())
        assert balance.resting == resting
        other = Balance(0.2, torch.device("cpu"))
        other.load_state_dict(balance.state_dict(World()), World())
        assert other.resting == resting
    assert math.isclose(sum(balance.state_dict(World())["costs"]), 2 * math.log1p(math.e) - 1)


@pytest.mark.parametrize("resting", ["generator", "discriminator", ""])
def test_who_rests_is_not_updated_and_all_is_recorded(resting: str) -> None:
    state, config = model_of(rest_margin=0.002)
    cost = {"generator": 1.0, "discriminator": 0.1, "": math.log(2)}[resting]
    balance = state.family.extra_state()["balance"]
    balance.load_state_dict({"costs": [math.log(2), cost]}, World())
    before = weights(state)
    after = weights(train(state, config, 1))
    for role in ("encoder", "generator", "discriminator"):
        moved = any(not torch.equal(before[role][n], after[role][n]) for n in before[role])
        assert moved == (role != resting)
    batch = batch_of(new(config, World()), config, 0)
    found = state.statistics.means(World())
    networks = new(config, World()).networks
    z = networks["encoder"].network(batch.columns["image"], None).draw(batch.draws["noise"])
    kinds = [networks["generator"].network(each, None) for each in (batch.draws["generator"], z)]
    real, *fakes = (
        networks["discriminator"].network(each, None) for each in (batch.columns["image"], *kinds)
    )
    assert found["d_real"] == pytest.approx(real.sigmoid().mean().item(), abs=1e-12)
    assert found["d_fake"] == pytest.approx(torch.cat(fakes).sigmoid().mean().item(), abs=1e-12)
    right = torch.stack([real > each for each in fakes]).double().mean().item()
    assert found["d_accuracy"] == pytest.approx(right, abs=1e-12)
    costs = balance.state_dict(World())["costs"]
    assert costs == pytest.approx(
        [-logsigmoid(real).mean().item(), -logsigmoid(-torch.cat(fakes)).mean().item()], abs=1e-12
    )


def test_a_run_whose_networks_rest_goes_on_to_the_bit() -> None:
    state, config = model_of(**VARIANTS["rests"])
    phases = []
    for _ in range(4):
        phases.append([phase.name for phase in state.family.phases(state.images_seen)])
        train(state, config, 1)
    assert ["encoder", "generator"] in phases
    other = new(config, World())
    other.load_state_dict(copy.deepcopy(state.state_dict()), "test")
    expected = weights(train(state, config, 3))
    assert largest_difference(expected, weights(train(other, config, 3))) == 0


@pytest.mark.parametrize("conditioning", ["concat", "projection", "auxiliary"])
@pytest.mark.parametrize("name", ["mlp", "dcgan", "sngan"])
def test_features_are_what_hidden_layers_give(name: str, conditioning: str) -> None:
    torch.manual_seed(0)
    image = ImageShape(1, 16, 16)
    attention = {"attention": 8} if name == "sngan" else {}
    settings = small_discriminator(name, conditioning=conditioning, **attention)
    network = settings.build(image, 3).double().eval()
    images, labels = torch.rand(5, *image, dtype=torch.float64), torch.arange(5) % 3
    kind: Any = {"mlp": nn.Linear, "dcgan": nn.LeakyReLU, "sngan": DiscriminatorBlock}[name]
    layers = [layer for layer in network.layers if isinstance(layer, kind)]
    seen: list[Tensor] = []
    for number, layer in enumerate(network.layers):
        if isinstance(layer, kind):
            after = network.layers[number + 1] if name == "sngan" else None
            # Attention belongs to the block before it.
            watched = layer if after is None or isinstance(after, (kind, nn.ReLU)) else after
            watched.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    expected = network(images, labels)
    if name == "mlp":
        seen = []
        hidden = network.input(images.flatten(1), labels if conditioning == "concat" else None)
        for layer in layers[:-1]:
            hidden = (hidden @ layer.weight.T + layer.bias).clamp_min(0)
            seen.append(hidden)
    found = list(seen)
    if name == "sngan":
        found[-1] = found[-1].clamp_min(0)
    assert len(found) == network.depth > 1
    for layer, features in enumerate(found, 1):
        logits, got = network.with_features(images, labels, layer)
        torch.testing.assert_close(got, features)
        torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"discriminator.network.name": "r3gan"}, r"network.name r3gan: gives no features.*sngan"),
        ({"feature_layer": 4}, r"--feature_layer 4: .*mlp has 3 hidden layers.*use 1 to 3"),
        ({"loss": "hinge", "rest_margin": 0.3}, r"--rest_margin 0.3: .*use --loss non-sat"),
        ({"gamma": -1}, r"--gamma.*at least 0"),
    ],
)
def test_what_does_not_fit_is_named_with_the_remedy(changes: dict[str, Any], said: str) -> None:
    def check() -> None:
        config = override(recipe("mnist-vae-gan"), changes)
        check_networks(config, DataSpec(ImageShape(1, 32, 32)))

    with pytest.raises(UserError, match=said):
        check()


GOOD = {
    **{f"{p}_{sign}": 0.01 for p in "edg" for sign in ("grad_norm", "update_ratio")},
    **{f"{p}_weight_growth": 1.0 for p in "edg"},
    **{"diversity": 1.0, "class_entropy": 0.9, "g_rate": 1.0, "probability": 1.0},
    **{"d_real": 0.6, "d_fake": 0.4, "d_accuracy": 0.7},
    **{"kl": 25.0, "reconstruction": 3.0, "squared_error": 0.1, "at_bounds": 0.0},
}


@pytest.mark.parametrize(
    ("state", "changes", "remedy"),
    [
        ("healthy", {}, ""),
        # Features whose distances grow say nothing of the pixels, nor do those that shrink.
        ("healthy", {"reconstruction": 300.0}, ""),
        ("posterior collapse", {"kl": 0.01, "reconstruction": 1.0}, "--beta"),
        ("exploding", {"kl": 1e5}, "--encoder.optimizer.lr"),
        ("exploding", {"e_update_ratio": 0.5}, "--encoder.optimizer.lr"),
        ("variance at its bounds", {"at_bounds": 0.5}, "--encoder.clip_norm"),
        ("discriminator wins", {"d_accuracy": 1.0, "d_fake": 0.001}, "--loss"),
        ("collapsed", {"diversity": 0.01}, "r1"),
    ],
)
def test_health_is_that_of_a_gan_and_of_an_encoder(
    state: str, changes: dict[str, float], remedy: str
) -> None:
    found = suspect([GOOD] * 10, {**GOOD, **changes}, model_of()[0].family.health_rules())
    assert found.state == state
    assert remedy in found.remedy
    assert "--likelihood" not in found.remedy


def test_one_step_in_bfloat16_is_near_float32() -> None:
    state, config = model_of(precision="float32")
    half, _ = model_of(precision="bf16")
    batch = batch_of(state, config, 0)
    found = [s.training_step().run(s.family.phases(0), [batch]) for s in (state, half)]
    for name in ("reconstruction", "kl", "g_loss", "d_loss"):
        assert found[1][name].dtype == torch.float32
        assert found[1][name].item() == pytest.approx(found[0][name].item(), rel=0.05)


SMALL = {
    **{f"{role}.network.widths": "8,8" for role in ("encoder", "generator", "discriminator")},
    "latent": 4,
}


def test_a_trained_model_encodes_decodes_and_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, images = exported(tmp_path, "mnist-vae-gan", **SMALL), images_of(70)
    mean, _ = model.encode(images)
    with torch.no_grad():
        expected = model.networks["encoder"](images, None)
        torch.testing.assert_close(mean, expected.mean, rtol=1e-5, atol=1e-6)
        made = model.networks["generator"](expected.mean, None)
    torch.testing.assert_close(model.reconstruct(images), made, rtol=1e-5, atol=1e-6)
    assert model.sample(3).shape == (3, 1, 8, 8)
    run = str(tmp_path / "run")
    assert load_discriminator(run)(images, None).shape == (70,)
    pairs = ["reconstruct", run, str(tmp_path / "set" / "validation"), "--out"]
    assert main([*pairs, str(tmp_path / "pairs.png")]) == 0
    capsys.readouterr()
    metrics = "reconstruction,active-units,kl-dimensions"
    assert main(["evaluate", run, "--metrics", metrics, "--workers", "0"]) == 0
    found = json.loads((tmp_path / "run" / "evaluations.jsonl").read_text("utf-8"))
    held_out = read_resident(open_images(str(tmp_path / "set" / "validation"))).images
    pixels = torch.from_numpy(held_out).permute(0, 3, 1, 2) / 127.5 - 1
    error = ((model.reconstruct(pixels) - pixels) / 2).square().mean().item()
    assert found["values"]["reconstruction-error"]["value"] == pytest.approx(error, rel=1e-5)
    assert "likelihood" not in found["card"]
    for metric in ("elbo", "iwae", "bits-per-dimension"):
        assert main(["evaluate", run, "--metrics", metric]) == 2
        assert "has no likelihood of images; measure reconstruction" in capsys.readouterr().err
