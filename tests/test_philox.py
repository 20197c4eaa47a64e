"""Philox in tensor operations: known answers, a straight-line program, and its distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from distgan.networks import philox
from distgan.networks.philox import Place

PLACE = Place(philox.key_of(7, "test"), 3, 1)
ONES = 2**32 - 1


def straight_line(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    """Salmon et al. 2011, as a program of Python's integers of any size."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k, q % 2**32, (p >> 32) ^ d ^ m, p % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return [a, b, c, d]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ONES,) * 4, (ONES,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers_of_random123(
    counter: tuple[int, ...], key: tuple[int, int], words: str
) -> None:
    found = philox.philox([torch.tensor([word]) for word in counter], key)
    assert " ".join(f"{int(word):08x}" for word in found) == words
    assert straight_line(counter, key) == [int(word, 16) for word in words.split()]


def test_words_are_those_of_a_straight_line_program() -> None:
    numbers = [0, 1, 5, 2**32 - 1, 2**32, 2**40 + 3]
    found = philox.words(torch.tensor(numbers), 23, PLACE)
    for row, number in zip(found.tolist(), numbers, strict=True):
        counters = [(b, 3 << 16 | 1, number % 2**32, number >> 32) for b in range(6)]
        assert row == [w for c in counters for w in straight_line(c, PLACE.key)][:23]


def test_keys_hash_seed_and_stream() -> None:
    keys = {philox.key_of(s, t) for s in (0, 1, 2**32, 2**64 - 1) for t in ("a", "b")}
    assert len(keys) == 8


@pytest.mark.parametrize("draw", [philox.words, philox.uniform, philox.normal])
def test_a_number_depends_on_neither_batch_nor_size_nor_chunk(
    draw: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(draw)
    whole = draw(torch.arange(100, 108), 1003, PLACE)
    assert torch.equal(draw(torch.arange(100, 103), 1003, PLACE), whole[:3])
    assert torch.equal(draw(torch.tensor([107, 100]), 10, PLACE), whole[[7, 0], :10])
    for most in (7, 300, 600):
        monkeypatch.setitem(philox._BLOCKS_AT_ONCE, "cpu", most)
        assert torch.equal(draw(torch.arange(100, 108), 1003, PLACE), whole)


@pytest.mark.parametrize("other", [{"key": philox.key_of(8, "test")}, {"layer": 4}, {"call": 2}])
def test_places_differ(other: dict[str, object]) -> None:
    draws = [
        philox.normal(torch.arange(100), 1000, place) for place in (PLACE, PLACE._replace(**other))
    ]  # type: ignore[arg-type]
    correlation = torch.corrcoef(torch.stack(draws).flatten(1))[0, 1].item()
    assert abs(correlation) < 5 / 100_000**0.5


def test_uniform_by_its_moments_and_ends() -> None:
    u = philox.uniform(torch.arange(200), 5000, PLACE).double()
    n = u.numel()
    assert 0 < u.min() < 1e-5
    assert 1 - 1e-5 < u.max() < 1
    assert abs(u.mean().item() - 1 / 2) < 5 * (1 / 12 / n) ** 0.5
    assert abs(u.square().mean().item() - 1 / 3) < 5 * (4 / 45 / n) ** 0.5
    counts = torch.histc(u.float(), 100, 0, 1).double()
    # Chi-square of 99 degrees of freedom: mean 99, variance 198.
    assert abs(((counts - n / 100) ** 2 / (n / 100)).sum().item() - 99) < 5 * 198**0.5
    words = philox.words(torch.arange(200), 5000, PLACE)
    assert torch.equal(u, ((words >> 9).double() + 0.5) / 2**23)


def test_normal_by_its_moments_and_quantiles() -> None:
    z = philox.normal(torch.arange(200), 5000, PLACE).double().flatten()
    n = len(z)
    for power, expected, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((z**power).mean().item() - expected) < 5 * (variance / n) ** 0.5
    for share, point in [(0.00135, -3.0), (0.025, -1.959964), (0.5, 0.0), (0.84134475, 1.0)]:
        found = (z < point).double().mean().item()
        assert abs(found - share) < 5 * (share * (1 - share) / n) ** 0.5
    pairs = z.view(-1, 2)
    for a, b in [(pairs[:, 0], pairs[:, 1]), (pairs[:, 0] ** 2, pairs[:, 1] ** 2)]:
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1].item()) < 5 / len(pairs) ** 0.5


def test_normal_is_box_muller_in_float64() -> None:
    words = philox.words(torch.arange(50), 2000, PLACE).numpy().reshape(-1, 2)
    found = philox.normal(torch.arange(50), 2000, PLACE).double().numpy().reshape(-1, 2)
    radius = np.sqrt(-2 * np.log((words[:, 0] + 0.5) / 2**32))
    turn = ((words[:, 1] >> 9) + 0.5) / 2**23 / 4 - 1 / 8
    sine, cosine = np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)
    cosine = np.where(words[:, 1] & 1, -cosine, cosine)
    exchange = words[:, 1] & 2 > 0
    both = [np.where(exchange, sine, cosine), np.where(exchange, cosine, sine)]
    # Near 1 a float32 of u is known to 2**-25, of which a radius near 0 is the square root.
    near_one = radius < 0.05
    error = np.abs(found - radius[:, None] * np.stack(both, 1)).max(1)
    assert error[~near_one].max() < 2e-6
    assert error.max() < 1e-3


def test_log_root_sine_and_cosine() -> None:
    u = torch.cat([torch.logspace(-32, 0, 5001, 2), torch.linspace(0.4, 1, 5001)])
    found, right = philox._log(u).double(), u.double().log()
    assert ((found - right).abs() / right.abs().clamp(min=1e-3)).max() < 3e-7
    square = torch.cat([torch.zeros(1), torch.logspace(-25, 6, 5001, 2)])
    right = square.double().sqrt()
    assert ((philox._root(square).double() - right).abs() <= 2e-7 * right).all()
    x = torch.linspace(-math.pi / 4, math.pi / 4, 5001)
    sine, cosine = philox._sine_and_cosine(x)
    assert (sine.double() - x.double().sin()).abs().max() < 1e-7
    assert (cosine.double() - x.double().cos()).abs().max() < 1.2e-7


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_shares(share: float) -> None:
    drawn = philox.below(torch.arange(100), 10_000, PLACE, share)
    deviation = (share * (1 - share) / drawn.numel()) ** 0.5
    assert abs(drawn.double().mean().item() - share) <= 5 * deviation
    assert torch.equal(drawn, philox.words(torch.arange(100), 10_000, PLACE) < share * 2**32)


def test_global_state_and_default_type_do_not_matter() -> None:
    before, state = philox.normal(torch.arange(3), 9, PLACE), torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        after = philox.normal(torch.arange(3), 9, PLACE)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before, after)
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_of_no_sample_and_of_no_size() -> None:
    assert philox.uniform(torch.arange(0), 5, PLACE).shape == (0, 5)
    assert philox.uniform(torch.arange(5), 0, PLACE).shape == (5, 0)


def test_a_layer_beyond_its_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 65535"):
        philox.uniform(torch.arange(1), 1, PLACE._replace(call=1 << 16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("draw", [philox.words, philox.uniform, philox.normal])
def test_a_gpu_makes_the_same_bits(draw: object) -> None:
    assert callable(draw)
    numbers = torch.arange(100)
    there = draw(numbers, 10_001, PLACE, device=torch.device("cuda"))
    assert torch.equal(there.cpu(), draw(numbers, 10_001, PLACE))
