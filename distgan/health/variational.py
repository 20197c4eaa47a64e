"""Rules of a variational autoencoder's health: pure functions of its signs.

They need the means ``kl``, ``reconstruction`` (both in nats a sample), ``at_bounds`` and
``squared_error``, and ``log_scale`` where a scale is learned; see `distgan.families.vae`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from distgan.health.diagnosis import Rule, Signs, Verdict, advising

LEAST_DIVERGENCE = 0.1
"""Nats in all, under which z says nothing of x; runs that learn have 5 and more."""
RECORDS = 5
"""Records that have to be there before the reconstruction is said to stand still."""
STANDSTILL = 0.01
"""Share of its best value by which the reconstruction has to improve."""
LARGEST_DIVERGENCE = 100.0
"""Nats a latent dimension. Runs that learn have up to 10, also without a weight on it."""
DIVERGENCE_JUMP = 100.0
"""Times its median so far."""
MOST_AT_BOUNDS = 0.01
"""Share of log variances. Runs that learn have none there."""
NEAR_BOUND = 0.05
"""Of the log of the decoder's scale."""

_REMEDIES = {
    "non-finite": "lower --optimizer.lr, or set --clip_norm, such as 100",
    "exploding": "lower --optimizer.lr, or set --clip_norm, such as 100",
    "collapsed": "lower --beta, or use --likelihood.name gaussian with --likelihood.variance "
    "optimal; check that the images differ",
    "collapsing": "lower --beta or --optimizer.lr",
}


def rules(usual: Sequence[Rule], latent: int, least_log_scale: float | None) -> tuple[Rule, ...]:
    """Every rule of a VAE, the gravest first.

    Args:
        usual: those of every family, non-finite before others and collapse last.
        latent: length of z.
        least_log_scale: lower bound of the decoder's log scale, None without one.
    """
    first, *others = (advising(rule, _REMEDIES) for rule in usual)
    own = (exploding_divergence(latent), posterior_collapse, at_bounds(least_log_scale))
    # A posterior that collapsed makes all samples alike, and is what is to be named then.
    return (first, *others[:-1], *own, others[-1])


_OF_ENCODER = {
    "exploding": "raise --beta where it is 0 or little, lower --encoder.optimizer.lr, or set "
    "--encoder.clip_norm",
    "posterior collapse": "warm up with --beta 0:1:500k:linear, lower --beta, or set "
    "--free_bits 0.1",
    "variance at its bounds": "lower --encoder.optimizer.lr, set --encoder.clip_norm, or raise "
    "--beta where it is 0 or little",
}


def encoder_rules(latent: int) -> tuple[Rule, ...]:
    """Of an encoder with settings of its own, beside a generator that a discriminator trains.

    Reconstructions are judged by their pixels: features of a discriminator that learns do not
    compare over time.
    """
    found = (
        exploding_divergence(latent),
        collapse_of_posterior("squared_error"),
        at_bounds(None),
    )
    return tuple(advising(rule, _OF_ENCODER) for rule in found)


def collapse_of_posterior(by: str, unit: str = "") -> Rule:
    """The rule of z that says nothing of x, while the reconstruction no longer improves.

    Args:
        by: the mean that says how bad a reconstruction is.
        unit: of it, in words.
    """

    def rule(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
        if now["kl"] >= LEAST_DIVERGENCE or len(past) < RECORDS:
            return
        best = min(signs[by] for signs in past)
        if now[by] > best - STANDSTILL * abs(best):
            yield Verdict(
                "posterior collapse",
                f"the divergence is {now['kl']:.2g} nats, so that z says nothing of x, and the "
                f"{by.replace('_', ' ')} stays at {now[by]:.4g}{unit}",
                "warm up with --beta 0:1:500k:linear, lower --beta, set --free_bits 0.1, or use "
                "--likelihood.name gaussian with --likelihood.variance optimal",
            )

    return rule


posterior_collapse = collapse_of_posterior("reconstruction", " nats")
"""The rule for a VAE."""


def exploding_divergence(latent: int) -> Rule:
    """The rule of a posterior that leaves the prior ever further."""

    def rule(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
        usual = statistics.median([signs["kl"] for signs in past]) if past else math.inf
        jumped = len(past) >= RECORDS and now["kl"] > DIVERGENCE_JUMP * max(usual, 1.0)
        if jumped or now["kl"] > LARGEST_DIVERGENCE * latent:
            before = f", and was {usual:.3g}" if past else ""
            yield Verdict(
                "exploding",
                f"the divergence of q(z|x) from the prior is {now['kl']:.3g} nats{before}",
                "raise --beta where it is 0 or little, lower --optimizer.lr, or set --clip_norm",
            )

    return rule


def at_bounds(least_log_scale: float | None) -> Rule:
    """The rule of variances at their bounds, where they have no gradient or next to none.

    Args:
        least_log_scale: lower bound of the decoder's log scale, None without one.
    """

    def rule(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
        if now["at_bounds"] > MOST_AT_BOUNDS:
            yield Verdict(
                "variance at its bounds",
                f"{now['at_bounds']:.1%} of the encoder's log variances are at their bounds, where "
                "they have no gradient",
                "lower --optimizer.lr, set --clip_norm, or raise --beta where it is 0 or little",
            )
        if least_log_scale is None:
            return
        found = 0.5 * math.log(max(now["squared_error"], 1e-30))
        scale = now.get("log_scale", found)
        if scale < least_log_scale + NEAR_BOUND:
            yield Verdict(
                "variance at its bounds",
                f"the log of the decoder's scale is {scale:.3g}, at its lower bound: the images "
                "are next to constant, or learned by heart",
                "use --likelihood.variance fixed, or --likelihood.name discretised-logistic",
            )

    return rule
