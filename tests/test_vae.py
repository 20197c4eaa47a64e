"""The variational autoencoder beside closed forms, straight lines of float64, and its own ranks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from distgan.config.run import RunConfig
from distgan.config.settings import leaves, override
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.families import Batch, DataSpec, build
from distgan.families.vae import VAE
from distgan.health.diagnosis import HEALTHY, suspect
from distgan.health.recovery import changed
from distgan.health.variational import at_bounds, exploding_divergence, posterior_collapse
from distgan.networks.vae import Decoded, Posterior, VariationalAutoencoder
from distgan.objectives.likelihoods import binarised
from distgan.objectives.variational import LEAST_LOG_SCALE
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.network import TrainableNetwork
from distgan.training.state import TrainingState
from distgan.training.update import TrainingStep

from . import ranks
from .test_families import (
    BATCH,
    CLASSES,
    IMAGE,
    batch_of,
    config_of,
    largest_difference,
    new,
    train,
    weights,
)

LIKELIHOODS: dict[str, dict[str, Any]] = {
    "bernoulli": {},
    "binarised": {"likelihood.binarise": True},
    "fixed": {"likelihood.name": "gaussian", "likelihood.variance": "fixed", "likelihood.scale": 2},
    "learned": {
        "likelihood.name": "gaussian",
        "likelihood.variance": "learned",
        "likelihood.scales": "channel",
    },
    "optimal": {"likelihood.name": "gaussian"},
    "levels": {"likelihood.name": "discretised-logistic"},
}


def vae_of(**changes: Any) -> tuple[TrainingState, RunConfig]:
    config = config_of("vae", **changes)
    return new(config, World()), config


def log_likelihood(kind: str, images: Tensor, output: Tensor, scale: Tensor) -> Tensor:
    """log p of every pixel, of torch's own distributions."""
    if kind in ("bernoulli", "binarised"):
        parts = -binary_cross_entropy_with_logits(output, (images + 1) / 2, reduction="none")
    elif kind == "levels":
        width = (-7 + torch.log1p((scale + 7).exp())).exp()
        upper = torch.sigmoid((images + 1 / 255 - output) / width)
        lower = torch.sigmoid((images - 1 / 255 - output) / width)
        # The outermost bins are open to their side.
        upper = torch.where(images > 1 - 1 / 255, 1.0, upper)
        lower = torch.where(images < 1 / 255 - 1, 0.0, lower)
        parts = (upper - lower).log()
    else:
        deviation = {
            "fixed": lambda: torch.tensor(2.0, dtype=torch.float64),
            "learned": lambda: (-6 + torch.log1p((scale + 6).exp())).exp(),
            "optimal": lambda: (images - output).square().mean().sqrt(),
        }[kind]()
        parts = Normal(output, deviation).log_prob(images)
    return parts


def plain(state: TrainingState, config: RunConfig, kind: str, batch: Batch) -> tuple[Tensor, ...]:
    """-log p(x|z) of torch's own distributions, and the divergence: means over samples."""
    network = state.networks["autoencoder"].network
    images = batch.columns["image"]
    if kind == "binarised":
        images = 2 * (batch.draws["binarise"].view_as(images) <= (images + 1) / 2).double() - 1
    mean, log_variance = network.encoder(images, batch.labels)
    q = Normal(mean, (log_variance / 2).exp())
    output, scale = network.decoder(q.loc + q.scale * batch.draws["noise"], batch.labels)
    parts = log_likelihood(kind, images, output, scale)
    divergence = kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    return -parts.sum((1, 2, 3)).mean(), divergence.mean()


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_the_elbo_and_its_parts_are_those_of_torchs_distributions(kind: str) -> None:
    state, config = vae_of(**LIKELIHOODS[kind])
    train(state, config, 2)  # So that a learned scale is not where it began.
    batch = batch_of(state, config, 100)
    with torch.no_grad():
        reconstruction, divergence = plain(state, config, kind, batch)
    found = state.training_step().run(state.family.phases(0), [batch])
    means = {name: value.item() for name, value in found.items()}
    assert set(means) == set(state.family.statistics)
    assert means["reconstruction"] == pytest.approx(reconstruction.item(), rel=1e-9)
    assert means["kl"] == pytest.approx(divergence.item(), rel=1e-9)
    derived = state.family.derived(means)
    assert derived["elbo"] == pytest.approx(-(reconstruction + divergence).item(), rel=1e-9)
    assert derived["loss"] == pytest.approx(-derived["elbo"], rel=1e-9)
    assert means["at_bounds"] == 0


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_gradients_of_a_whole_update_are_those_of_finite_differences(kind: str) -> None:
    """In two micro-batches, of which the optimal variance wants two passes."""
    state, config = vae_of(**LIKELIHOODS[kind], accumulate=2, beta=0.7)
    whole = batch_of(state, override(config, {"accumulate": 1}), 0)
    parts = [batch_of(state, config, first) for first in (0, BATCH // 2)]
    network = state.networks["autoencoder"].network
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    state.training_step().run(state.family.phases(0), parts)
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    assert found.keys() == before.keys()
    network.load_state_dict(before)

    def objective() -> float:
        reconstruction, divergence = plain(state, config, kind, whole)
        return (reconstruction + 0.7 * divergence).item()

    pick = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            for place in torch.randint(weight.numel(), (2,), generator=pick).tolist():
                flat, around = weight.view(-1), []
                start = flat[place].item()
                for shift in (1e-5, -1e-5):
                    flat[place] = start + shift
                    around.append(objective())
                flat[place] = start
                slope = (around[0] - around[1]) / 2e-5
                known = found[name].view(-1)[place].item()
                assert known == pytest.approx(slope, rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("kind", ["bernoulli", "binarised", "learned", "levels"])
def test_the_importance_weighted_bound_and_its_gradients_are_a_straight_lines(kind: str) -> None:
    """Burda et al. 2016, equation 8, of torch's own distributions, in two micro-batches."""
    count = 3
    state, config = vae_of(**LIKELIHOODS[kind], importance_samples=count, accumulate=2)
    whole = batch_of(state, override(config, {"accumulate": 1}), 0)
    parts = [batch_of(state, config, first) for first in (0, BATCH // 2)]
    network = state.networks["autoencoder"].network
    latent = config.latent  # type: ignore[attr-defined]
    noise = whole.draws["noise"].view(BATCH, count, latent)
    logs = []
    for k in range(count):
        # What a single z of each image costs, and its densities under p and q.
        one = Batch(whole.columns, {**whole.draws, "noise": noise[:, k]})
        logs.append(_log_weight(network, kind, one))
    bound = (torch.stack(logs).logsumexp(0) - math.log(count)).mean()
    wanted = torch.autograd.grad(-bound, list(network.parameters()))
    found = state.training_step().run(state.family.phases(0), parts)
    means = {name: value.item() for name, value in found.items()}
    assert state.family.derived(means)["loss"] == pytest.approx(-bound.item(), rel=1e-9)
    for weight, gradient in zip(network.parameters(), wanted, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-9, atol=1e-9)


def _log_weight(network: nn.Module, kind: str, batch: Batch) -> Tensor:
    """log p(x, z) - log q(z|x) of one z of each image, (n,)."""
    images = batch.columns["image"]
    if kind == "binarised":
        images = 2 * (batch.draws["binarise"].view_as(images) <= (images + 1) / 2).double() - 1
    mean, log_variance = network.encoder(images, batch.labels)
    q = Normal(mean, (log_variance / 2).exp())
    z = q.loc + q.scale * batch.draws["noise"]
    output, scale = network.decoder(z, batch.labels)
    densities = Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
    return log_likelihood(kind, images, output, scale).sum((1, 2, 3)) + densities.sum(1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"beta": 2}, "--beta 2: the bound of --importance_samples 5"),
        ({"free_bits": 0.1}, "--free_bits 0.1"),
        ({"likelihood.name": "gaussian"}, "--likelihood.variance optimal"),
    ],
)
def test_what_the_importance_weighted_bound_cannot_be_had_with(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        override(recipe("mnist-vae"), {"importance_samples": 5, **changes})


class LinearEncoder(nn.Module):
    def __init__(self, matrix: Tensor, shift: Tensor, log_variance: Tensor) -> None:
        super().__init__()
        self.matrix, self.shift = nn.Parameter(matrix), nn.Parameter(shift)
        self.log_variance = nn.Parameter(log_variance)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Posterior:
        mean = images.flatten(1) @ self.matrix.T + self.shift
        return Posterior(mean, self.log_variance.expand_as(mean))


class LinearDecoder(nn.Module):
    def __init__(self, matrix: Tensor, mean: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.matrix, self.mean = nn.Parameter(matrix), nn.Parameter(mean)
        self.log_scale = nn.Parameter(log_scale)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Decoded:
        images = (z @ self.matrix.T + self.mean).view(len(z), 1, 2, 3)
        return Decoded(images, self.log_scale.view(1, 1, 1))


def probabilistic_pca(
    data: Tensor, latent: int
) -> tuple[VariationalAutoencoder, MultivariateNormal]:
    """The most likely model in closed form (Tipping and Bishop 1999) as an autoencoder."""
    mean = data.mean(0)
    covariance = (data - mean).T @ (data - mean) / len(data)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0), vectors.flip(1)
    noise = values[latent:].mean()
    matrix = vectors[:, :latent] * (values[:latent] - noise).sqrt()
    # Columns are orthogonal, so that the exact posterior is diagonal.
    inverse = 1 / (matrix.square().sum(0) + noise)
    encode = inverse[:, None] * matrix.T
    encoder = LinearEncoder(encode, -encode @ mean, (noise * inverse).log())
    learned = LEAST_LOG_SCALE + torch.expm1(noise.log() / 2 - LEAST_LOG_SCALE).log()
    decoder = LinearDecoder(matrix, mean, learned)
    whole = MultivariateNormal(mean, matrix @ matrix.T + noise * torch.eye(len(mean)).double())
    return VariationalAutoencoder(encoder, decoder), whole


def test_of_a_linear_model_the_highest_elbo_is_the_likelihood_of_probabilistic_pca() -> None:
    """The posterior is exact there: the bound is met, and no weight has a gradient."""
    latent, draw = 2, torch.Generator().manual_seed(0)
    mix = torch.randn(6, 6, generator=draw, dtype=torch.float64)
    data = torch.randn(200, 6, generator=draw, dtype=torch.float64) @ mix + 1
    network, model = probabilistic_pca(data, latent)
    changes = {"likelihood.name": "gaussian", "likelihood.variance": "learned", "latent": latent}
    config = override(recipe("mnist-vae"), {**changes, "precision": "float64"})
    family = build(config, DataSpec(ImageShape(1, 2, 3)))
    # Of z, only quadratic terms: these points have the mean and covariance of the normal noise.
    points = math.sqrt(latent) * torch.cat([torch.eye(latent), -torch.eye(latent)]).double()
    images = data.repeat_interleave(len(points), 0).view(-1, 1, 2, 3)
    batch = Batch({"image": images}, {"noise": points.repeat(len(data), 1)})
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    step = TrainingStep({"autoencoder": TrainableNetwork(network, network, optimizer)})
    found = {n: v.item() for n, v in step.run(family.phases(0), [batch]).items()}
    likelihood = model.log_prob(data).mean().item()
    assert family.derived(found)["elbo"] == pytest.approx(likelihood, rel=1e-10)
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        assert weight.grad.norm() < 1e-9, name
    with torch.no_grad():
        network.decoder.matrix.mul_(1.05)
    found = {n: v.item() for n, v in step.run(family.phases(0), [batch]).items()}
    assert family.derived(found)["elbo"] < likelihood - 1e-4


def test_beta_follows_its_schedule_and_free_bits_cost_nothing_more() -> None:
    state, config = vae_of(beta="0:1:140:linear")
    batch = batch_of(state, config, 0)
    for seen, beta in ((0, 0.0), (35, 0.25), (140, 1.0), (1_000, 1.0)):
        state.images_seen = seen
        found = state.training_step().run(state.family.phases(seen), [batch])
        assert found["kl_cost"].item() == pytest.approx(beta * found["kl"].item(), abs=1e-12)
        state.family.before_step(seen)
        assert state.family.gauges()["beta"] == pytest.approx(beta)
    state, config = vae_of(free_bits=50)
    found = state.training_step().run(state.family.phases(0), [batch])
    assert found["kl_cost"].item() == pytest.approx(50 * 4)
    assert found["kl"].item() < 50


def coupled_on_a_rank(world: World) -> list[dict[str, dict[str, Tensor]]]:
    """The optimal variance, then the importance-weighted bound, in one and in two micro-batches."""
    ways: tuple[dict[str, Any], ...] = (LIKELIHOODS["optimal"], {"importance_samples": 3})
    configs = [config_of("vae", **way, accumulate=n) for way in ways for n in (1, 2)]
    return [weights(train(new(config, world), config, 4)) for config in configs]


@pytest.mark.slow
def test_the_optimal_variance_and_the_bound_of_several_z_are_the_same_on_any_ranks(
    tmp_path: Path,
) -> None:
    optimal, _, weighted, _ = coupled_on_a_rank(World())
    for size in (1, 2, 3):
        for found in ranks.on_ranks(size, coupled_on_a_rank, tmp_path):
            for whole, each in zip((optimal, optimal, weighted, weighted), found, strict=True):
                assert largest_difference(whole, each) < 1e-9


def test_labels_reach_both_networks() -> None:
    state, config = vae_of(conditional=True)
    train(state, config, 3)
    batch = batch_of(state, config, 0)
    assert batch.labels is not None
    other = Batch({**batch.columns, "label": (batch.labels + 1) % CLASSES}, batch.draws)
    network = state.networks["autoencoder"].network
    with torch.no_grad():
        q, p = (network(b.columns["image"], b.draws["noise"], b.labels)[0] for b in (batch, other))
    assert not torch.allclose(q.mean, p.mean)
    inputs = {"z": batch.draws["noise"]}
    networks = {"autoencoder": network}
    images = [
        state.family.generate(networks, Batch({"label": b.columns["label"]}, inputs))
        for b in (batch, other)
    ]
    assert not torch.allclose(*images)
    assert images[0].abs().max() <= 1
    unlabelled = VAE(config, DataSpec(IMAGE), World())
    with pytest.raises(UserError, match=r"--conditional true: .* has no labels"):
        unlabelled.check_data()


def test_binary_pixels_are_white_as_often_as_they_are_grey() -> None:
    grey = torch.tensor([-1.0, -0.5, 0.0, 0.8, 1.0]).repeat(20_000, 1).view(-1, 1, 1, 5)
    numbers = 1 - torch.rand(20_000, 5, generator=torch.Generator().manual_seed(0))
    found = binarised(grey, numbers)
    assert set(found.unique().tolist()) == {-1.0, 1.0}
    deviation = Bernoulli((grey[0] + 1) / 2).variance.sqrt() / math.sqrt(20_000)
    assert ((((found + 1) / 2).mean(0) - (grey[0] + 1) / 2).abs() <= 5 * deviation).all()


def test_bfloat16_changes_the_networks_alone() -> None:
    state, config = vae_of(precision="float32")
    half, _ = vae_of(precision="bf16")
    batch = batch_of(state, config, 0)
    found = [s.training_step().run(s.family.phases(0), [batch]) for s in (state, half)]
    assert found[1]["reconstruction"].dtype == torch.float32
    for name in ("reconstruction", "kl"):
        assert found[1][name].item() == pytest.approx(found[0][name].item(), rel=0.02)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"health.change": "double-r1"}, r"--health.change double-r1: .*no penalty R1.*halve-lr"),
        (
            {"likelihood.name": "gaussian", "likelihood.scale": 0.5},
            r"--likelihood.scale 0.5: has no effect .*variance fixed",
        ),
        (
            {"likelihood.name": "gaussian", "likelihood.scales": "channel"},
            r"--likelihood.scales channel: has no effect .*variance learned",
        ),
        ({"likelihood.scale": 0.5}, r"--likelihood.scale: no such setting"),
        ({"beta": -1}, r"--beta.*at least 0"),
        ({"encoder.name": "unet"}, r"--encoder.name 'unet': no such choice.*have mlp, dcgan"),
        ({"generator.optimizer.lr": 1}, r"no such setting.*--optimizer.lr"),
    ],
)
def test_contradictions_are_named_with_the_remedy(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        override(recipe("mnist-vae"), changes)


def test_a_rollback_halves_the_learning_rate() -> None:
    config, said = changed(recipe("mnist-vae"))
    assert said == "--optimizer.lr 0.0005"
    assert {s.name: s.value for s in leaves(config)}["optimizer.lr"].start == 5e-4


GOOD = {
    "kl": 25.0,
    "reconstruction": 80.0,
    "at_bounds": 0.0,
    "squared_error": 0.05,
    "log_scale": -1.5,
}
ILL = {
    "collapse": ("posterior collapse", {"kl": 0.01, "reconstruction": 206.0}),
    "density": ("posterior collapse", {"kl": 0.01, "reconstruction": -10.0}),
    "jump": ("exploding", {"kl": 2_501.0}),
    "far": ("exploding", {"kl": 100.1 * 20}),
    "encoder": ("variance at its bounds", {"at_bounds": 0.02}),
    "decoder": ("variance at its bounds", {"log_scale": -5.98}),
}
RULES = (exploding_divergence(20), posterior_collapse, at_bounds(LEAST_LOG_SCALE))


@pytest.mark.parametrize(("state", "changes"), ILL.values(), ids=ILL.keys())
def test_states_of_health_have_evidence_and_remedy(state: str, changes: dict[str, float]) -> None:
    past = [{**GOOD, **({} if "kl" in changes else changes), "reconstruction": 206.0}] * 10
    if changes.get("reconstruction", 1) < 0:
        past = [{**GOOD, "reconstruction": -10.0}] * 10
    assert suspect(past, GOOD, RULES).state == HEALTHY
    found = suspect(past, {**GOOD, **changes}, RULES)
    assert found.state == state
    assert found.evidence
    assert found.remedy


@pytest.mark.parametrize(
    "changes",
    [
        # No divergence yet, while the images are still learned; a set that needs few nats; much
        # of it in a warm-up; a small share of variances at their bounds.
        {"kl": 0.01, "reconstruction": 150.0},
        {"kl": 0.2, "reconstruction": 206.0},
        {"kl": 200.0},
        {"at_bounds": 0.005},
        {"log_scale": -5.0},
    ],
)
def test_what_runs_that_learn_pass_through_is_no_illness(changes: dict[str, float]) -> None:
    past = [{**GOOD, "reconstruction": 206.0}] * 10
    assert suspect(past, {**GOOD, **changes}, RULES).state == HEALTHY


def test_a_start_without_divergence_is_no_collapse() -> None:
    low = {**GOOD, "kl": 0.01, "reconstruction": 206.0}
    assert suspect([low] * 4, low, RULES).state == HEALTHY
    assert suspect([low] * 5, low, RULES).state == "posterior collapse"
    # An optimal variance is judged by the error that it is the mean of.
    none = {name: value for name, value in GOOD.items() if name != "log_scale"}
    known = {**none, "squared_error": 1e-6}
    assert suspect([none], none, RULES).state == HEALTHY
    assert suspect([none], known, RULES).state == "variance at its bounds"
    assert suspect([none], known, (at_bounds(None),)).state == HEALTHY
    assert config_of("vae").search_space().keys() >= {"optimizer.lr", "beta", "latent"}
