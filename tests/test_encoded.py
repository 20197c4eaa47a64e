"""Metrics of a VAE's held-out images beside closed forms, straight lines of float64, and ranks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from distgan import draws
from distgan.config.evaluate import EvaluateSettings
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.prepare import PrepareSettings, prepare
from distgan.evaluate import encoded
from distgan.evaluate.card import Card
from distgan.evaluate.encoded import EncodedImages
from distgan.evaluate.evaluation import Evaluator
from distgan.families.autoencoder import Autoencoder
from distgan.metrics.names import AUTOENCODER_METRICS
from distgan.networks.random import normal_draws
from distgan.networks.vae import Decoded, Posterior
from distgan.objectives.likelihoods import GaussianSettings
from distgan.parallel import World

from . import ranks
from .test_families import CLASSES, IMAGE, batch_of
from .test_vae import LIKELIHOODS, plain, probabilistic_pca, vae_of

SEED, HELD_OUT = 3, 130
"""The held-out images fill a block, and part of another."""


def made(folder: Path, shape: tuple[int, ...], train: int) -> str:
    """A set of smooth images with labels, and `HELD_OUT` held-out ones."""
    draw = np.random.default_rng(0)
    count = train + HELD_OUT
    mix = draw.normal(size=(3, math.prod(shape)))
    values = draw.normal(size=(count, 3)) @ mix + 0.3 * draw.normal(size=(count, math.prod(shape)))
    levels = (127.5 + 30 * values).clip(0, 255).astype(np.uint8).reshape(count, *shape, 1)
    np.savez(folder / "a.npz", images=levels, labels=np.arange(count) % CLASSES)
    prepare(str(folder / "a.npz"), str(folder / "set"), PrepareSettings(validation=HELD_OUT))
    return str(folder / "set")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("data"), IMAGE[1:], 170)


def read(data: str) -> tuple[Tensor, Tensor]:
    """All images of a set, float64 (n, c, h, w) in [-1, 1], and labels."""
    pixels = read_resident(open_images(data))
    assert pixels.labels is not None
    images = torch.from_numpy(pixels.images).permute(0, 3, 1, 2).double() / 127.5 - 1
    # What a network in float32 would be given.
    return images.float().double(), torch.from_numpy(pixels.labels.copy())


def found_of(
    model: Autoencoder | None, data: str, labelled: bool = False, **settings: Any
) -> dict[str, float]:
    """All values of metrics that want no extractor."""
    assert model is not None
    chosen = EvaluateSettings(seed=SEED, **settings)
    by_metric = EncodedImages(open_images(data), chosen, labelled, World()).measure(model, None)
    return {name: value.value for its in by_metric.values() for name, value in its.items()}


def model_of(**changes: Any) -> tuple[Autoencoder, Any, Any]:
    state, config = vae_of(**changes)
    draw = torch.Generator().manual_seed(5)
    network = state.networks["autoencoder"].network.eval()
    for weight in network.parameters():
        # Away from the start, so that every part of the bound counts.
        weight.data += 0.2 * torch.randn(weight.shape, generator=draw, dtype=weight.dtype)
    model = state.family.autoencoder({"autoencoder": network})
    assert model is not None
    return model, state, config


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_the_elbo_is_a_straight_line_of_float64(kind: str, conditional: bool, data: str) -> None:
    model, state, config = model_of(**LIKELIHOODS[kind], conditional=conditional)
    found = found_of(model, data, conditional, metrics=("elbo", "active-units", "kl-dimensions"))
    images, labels = read(f"{data}/validation")
    numbers = torch.arange(len(images))
    noise = normal_draws(SEED, "evaluate-encoded", numbers, range(1), config.latent)[:, 0]
    batch = batch_of(state, config, 0)
    columns = {"image": images, **({"label": labels} if conditional else {})}
    batch = replace(batch, columns=columns, draws={"noise": noise.double()})
    if kind == "binarised":
        uniform = draws.uniforms(SEED, "evaluate-binarise", [range(len(images))], 64)
        batch = replace(batch, draws={**batch.draws, "binarise": torch.from_numpy(uniform)})
    with torch.no_grad():
        term, divergence = plain(state, config, kind, batch)
    if kind == "optimal":
        term = of_training_error(state, data, batch, config.latent)
    assert found["reconstruction-term"] == pytest.approx(term.item(), rel=1e-6)
    assert found["kl"] == pytest.approx(divergence.item(), rel=1e-6)
    assert found["elbo"] == pytest.approx(-(term + divergence).item(), rel=1e-6)
    by_dimension = [found[f"kl-{number}"] for number in range(1, config.latent + 1)]
    assert sum(by_dimension) == pytest.approx(found["kl"], rel=1e-12)
    network = state.networks["autoencoder"].network
    seen = (
        2 * (batch.draws["binarise"].view_as(images) <= (images + 1) / 2).double() - 1
        if (kind == "binarised")
        else images
    )
    with torch.no_grad():
        means = network.encoder(seen, batch.labels)[0]
    assert found["active-units"] == (means.var(0) > 0.01).sum().item()


def of_training_error(state: Any, data: str, held_out: Any, latent: int) -> Tensor:
    """-log p(x|z) with the variance that is optimal for the training images."""
    network = state.networks["autoencoder"].network

    def outputs(images: Tensor, labels: Tensor | None) -> Tensor:
        noise = normal_draws(SEED, "evaluate-encoded", torch.arange(len(images)), range(1), latent)
        mean, log_variance = network.encoder(images, labels)
        z = mean + (log_variance / 2).exp() * noise[:, 0]
        made: Tensor = network.decoder(z, labels)[0]
        return made

    training, labels = read(data)
    with torch.no_grad():
        own = outputs(training, labels if held_out.labels is not None else None)
        images = held_out.columns["image"]
        deviation = (training - own).square().mean().sqrt()
        rows = Normal(outputs(images, held_out.labels), deviation).log_prob(images)
    return -rows.sum((1, 2, 3)).mean()


class _Wide(nn.Module):
    """A posterior that is not the true one."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Posterior:
        mean, log_variance = self.encoder(images, labels)
        return Posterior(mean + 0.1, log_variance + 0.5)


def test_the_weighted_bound_rises_to_the_likelihood_of_a_linear_model(tmp_path: Path) -> None:
    data = made(tmp_path, (2, 3), 170)
    images, _ = read(f"{data}/validation")
    network, whole = probabilistic_pca(read(data)[0].flatten(1), 2)
    likelihood = GaussianSettings(variance="learned")
    exact = Autoencoder(network.encoder, network.decoder, likelihood, 2)
    wide = replace(exact, encoder=_Wide(network.encoder))
    likely = whole.log_prob(images.flatten(1)).mean().item()
    # Every weight of the exact posterior is p(x).
    assert found_of(exact, data, metrics=("iwae",), iwae_k=2)["iwae"] == pytest.approx(
        likely, abs=1e-5
    )
    bounds = [found_of(wide, data, metrics=("iwae",), iwae_k=k)["iwae"] for k in (1, 4, 4_000)]
    assert bounds == sorted(bounds)
    assert bounds[0] < likely - 0.05
    assert bounds[-1] == pytest.approx(likely, abs=2e-3)


@pytest.mark.parametrize("kind", ["bernoulli", "levels"])
def test_chunks_of_samples_make_no_difference(
    kind: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, _ = model_of(**LIKELIHOODS[kind])
    bounds = []
    for rows in (1, 400, 100_000):
        monkeypatch.setattr(encoded, "ROWS", rows)
        bounds.append(found_of(model, data, metrics=("iwae",), iwae_k=7)["iwae"])
    assert bounds[1:] == pytest.approx([bounds[0]] * 2, rel=1e-13)


class _Prior(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.none = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Posterior:
        return Posterior(*images.new_zeros(2, len(images), 1))


class _Grey(nn.Module):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Decoded:
        return Decoded(z.new_full((len(z), *IMAGE), 0.1), None)


def test_bits_of_a_density_are_those_of_the_levels_it_makes(data: str) -> None:
    """z says nothing here, and sigma is wide beside a level: log P(level) has a closed form."""
    likelihood = GaussianSettings(variance="fixed", scale=0.5)
    model = Autoencoder(_Prior(), _Grey(), likelihood, 1)
    images, _ = read(f"{data}/validation")
    normal = Normal(torch.tensor(0.1).double(), 0.5)
    levels = (normal.cdf(images + 1 / 255) - normal.cdf(images - 1 / 255)).log2()
    found = found_of(model, data, metrics=("bits-per-dimension",))
    assert found["bits-per-dimension"] == pytest.approx(-levels.mean().item(), abs=1e-3)


def test_bits_of_levels_are_the_elbo(data: str) -> None:
    model, _, _ = model_of(**LIKELIHOODS["levels"])
    found = found_of(model, data, metrics=("elbo", "bits-per-dimension"))
    assert found["bits-per-dimension"] == pytest.approx(
        -found["elbo"] / (math.prod(IMAGE) * math.log(2)), rel=1e-12
    )


def test_the_error_of_a_reconstruction_is_of_pixels_from_0_to_1(data: str) -> None:
    model = Autoencoder(_Prior(), _Grey(), GaussianSettings(), 1)
    images, _ = read(f"{data}/validation")
    expected = ((images + 1) / 2 - 1.1 / 2).square().mean().item()
    found = found_of(model, data, metrics=("reconstruction",))
    assert found["reconstruction-error"] == pytest.approx(expected, rel=1e-6)


def measured(world: World, data: str) -> dict[str, float]:
    torch.set_num_threads(1)
    _, state, _ = model_of(**LIKELIHOODS["optimal"], conditional=True)
    settings = EvaluateSettings(metrics=AUTOENCODER_METRICS, features="mnist", iwae_k=6)
    evaluator = Evaluator(settings, open_images(data), "few", state.family, world)
    network = state.networks["autoencoder"].network
    found = evaluator.evaluate({"autoencoder": network}, 0)
    card = found.card.to_dict()
    assert (card["encoded"], card["encoded_split"]) == (HELD_OUT, "validation")
    assert (card["importance_samples"], card["fake"], card["seed"]) == (6, 0, 0)
    assert list(found.values)[:3] == ["elbo", "reconstruction-term", "kl"]
    return {name: value.value for name, value in found.values.items()}


@pytest.mark.slow
def test_one_two_and_three_ranks_measure_the_same(tmp_path: Path, data: str) -> None:
    alone = measured(World(), data)
    assert len(alone) == 8 + 4
    for size in (2, 3):
        for found in ranks.on_ranks(size, measured, tmp_path, data):
            # Of few images the covariances are singular, and their root magnifies rounding.
            name = "reconstruction-frechet"
            assert found.pop(name) == pytest.approx(alone[name], rel=1e-8)
            rest = {other: value for other, value in alone.items() if other != name}
            assert found == pytest.approx(rest, rel=1e-10, abs=1e-10)


def test_cards_without_an_encoder_have_the_keys_that_they_had() -> None:
    card = Card("e", "0", "none", True, "d", "0", "train", 1, 0, 1, "ema", 0)
    # Of the version before there were metrics of an encoder.
    assert card.key == "81819080"
    other = replace(card, encoded=5, encoded_split="validation")
    assert len({card.key, other.key, replace(other, encoded=6).key}) == 3
