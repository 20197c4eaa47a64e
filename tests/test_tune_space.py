"""The space of a search, and what its results come to: numbers alone, no training."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from scipy import stats

from distgan.config.schedule import Schedule
from distgan.config.settings import leaves, override
from distgan.errors import UserError
from distgan.recipes import RECIPES, recipe
from distgan.tune.record import Measured, Trial
from distgan.tune.results import compare, ranked, sum_up
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space, read_space
from distgan.tune.summary_text import conclusion

LR = "generator.optimizer.lr"


def values(space: Space, name: str, count: int = 400) -> list[float]:
    return [float(space.draw(0, number)[name]) for number in range(count)]  # type: ignore[arg-type]


def test_ranges_are_drawn_as_they_are_written() -> None:
    texts = {
        LR: "loguniform(1e-5, 1e-2)",
        "generator.optimizer.beta1": "uniform(0.2, 0.8)",
        "batch": "choice(32, 64)",
        "discriminator.updates": "randint(1, 4)",
    }
    space = Space(recipe("mnist-mlp-tutorial"), texts)
    rates = np.log10(values(space, LR))
    assert stats.kstest(rates, stats.uniform(-5, 3).cdf).pvalue > 0.01
    decays = values(space, "generator.optimizer.beta1")
    assert stats.kstest(decays, stats.uniform(0.2, 0.6).cdf).pvalue > 0.01
    assert set(values(space, "batch")) == {32, 64}
    assert set(values(space, "discriminator.updates")) == {1, 2, 3, 4}


def test_a_draw_depends_on_its_seed_and_number_alone() -> None:
    space = Space(recipe("mnist-mlp-tutorial"), recipe("mnist-mlp-tutorial").search_space())
    assert space.draw(3, 7) == space.draw(3, 7)
    assert space.draw(3, 7) != space.draw(3, 8)
    assert space.draw(3, 7) != space.draw(4, 7)


def test_ratio_scale_and_same_go_by_other_settings() -> None:
    base = override(recipe("mnist-mlp-tutorial"), {LR: "2e-4"})
    texts = {
        LR: "scale(0.5, 2)",
        "discriminator.optimizer.lr": f"ratio({LR}, 0.5, 4)",
        "generator.optimizer.beta2": "choice(0.9, 0.99)",
        "discriminator.optimizer.beta2": "same(generator.optimizer.beta2)",
    }
    space = Space(base, texts)
    point = {LR: 2.0, "discriminator.optimizer.lr": 4.0, "generator.optimizer.beta2": 0.9}
    changes = space.changes(point)
    assert changes[LR] == Schedule(4e-4, 4e-4, 0, changes[LR].shape)
    assert changes["discriminator.optimizer.lr"].start == pytest.approx(1.6e-3)
    assert changes["discriminator.optimizer.beta2"] == 0.9
    assert space.changes({}) == {}


@pytest.mark.parametrize("name", RECIPES)
def test_every_point_of_a_default_space_is_a_configuration(name: str) -> None:
    base = recipe(name)
    space = Space(base, base.search_space())
    for number in range(50):
        override(base, space.changes(space.draw(0, number)))
    # Home is the recipe, as nearly as the space has it.
    changed = override(base, space.changes(space.home()))
    own, other = ({s.name: s.value for s in leaves(c)} for c in (base, changed))
    rate = "optimizer.lr" if base.family == "vae" else LR
    assert own[rate] == other[rate]
    assert own["batch"] == other["batch"]


def test_a_grid_is_every_combination() -> None:
    texts = {LR: "loguniform(1e-5, 1e-3)", "batch": "choice(32, 64)"}
    grid = list(Space(recipe("mnist-mlp-tutorial"), texts).grid())
    assert len(grid) == 6
    assert sorted({point[LR] for point in grid}) == pytest.approx([1e-5, 1e-4, 1e-3])  # type: ignore[type-var]


def test_a_perturbation_moves_by_a_fifth_or_draws_anew() -> None:
    space = Space(recipe("mnist-mlp-tutorial"), {LR: "loguniform(1e-6, 1e-1)"})
    factors = [float(space.perturb({LR: 1e-4}, 0, n)[LR]) / 1e-4 for n in range(400)]
    moved = [f for f in factors if f == pytest.approx(1.2) or f == pytest.approx(0.8)]
    assert 0.65 < len(moved) / len(factors) < 0.85
    assert {round(f, 3) for f in moved} == {1.2, 0.8}


def test_only_what_a_running_gan_can_change_is_perturbed() -> None:
    base = recipe("mnist-mlp-tutorial")
    kept = Space(base, base.search_space()).changeable().texts
    assert LR in kept
    assert "batch" not in kept
    with pytest.raises(UserError, match="batch can change while a run trains"):
        Space(base, {"batch": "choice(32, 64)"}).changeable()


def test_a_file_and_words_make_one_space() -> None:
    text = "batch: choice(32, 64)\nloss: [hinge, minimax]\n"
    found = read_space(["my.yaml", f"{LR}=loguniform(1e-5,1e-3)"], lambda path: text)
    assert found == {
        "batch": "choice(32, 64)",
        "loss": "choice(hinge, minimax)",
        LR: "loguniform(1e-5,1e-3)",
    }


def finished(number: int, value: float, half: float = 0.0, confirms: int | None = None) -> Trial:
    final = Measured(9, 900, 100, value, value - half, value + half)
    return Trial(
        number=number,
        point={},
        seed=0,
        confirms=confirms,
        state="finished",
        images=900,
        final=final,
    )


def test_the_best_is_best_in_the_direction_of_its_metric() -> None:
    trials = [finished(0, 3.0), finished(1, 1.0), finished(2, 2.0)]
    assert [t.number for t in ranked(trials, TuneSettings(metric="frechet"))] == [1, 2, 0]
    assert [t.number for t in ranked(trials, TuneSettings(metric="recall"))] == [0, 2, 1]


def test_what_intervals_do_not_tell_apart_is_no_win() -> None:
    trials = [finished(0, 3.0, 0.5), finished(1, 1.0, 0.5), finished(2, 1.8, 0.5)]
    trials.append(Trial(number=3, point={}, seed=0, state="ended early", images=100))
    found = sum_up("x", trials, TuneSettings(max_images=900))
    assert found.best is trials[1]
    assert found.noise == [2]
    assert (found.images, found.images_of_all) == (2800, 3600)


@pytest.mark.parametrize("spread", [0.1, 2.0])
def test_the_interval_of_a_difference_is_welchs(spread: float) -> None:
    numbers = np.random.default_rng(1)
    for _ in range(20):
        sizes = numbers.integers(2, 12, 2)
        ours, theirs = numbers.normal(0, 1, sizes[0]), numbers.normal(1, spread, sizes[1])
        found = compare(1, list(ours), list(theirs), lower_is_better=True)
        expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
        middle = statistics.fmean(ours) - statistics.fmean(theirs)
        assert found.difference == pytest.approx(middle)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_an_interval_around_zero_is_no_verdict() -> None:
    assert compare(1, [1.0, 2.0, 3.0], [1.5, 2.5, 2.0], True).verdict == "not distinguishable"
    assert compare(1, [1.0, 1.1, 0.9], [5.0, 5.1, 4.9], True).verdict == "better"
    assert compare(1, [1.0, 1.1, 0.9], [5.0, 5.1, 4.9], False).verdict == "worse"


def test_several_candidates_are_judged_together() -> None:
    recipe, ours = [3.0, 3.1, 2.9], [2.7, 2.8, 2.72]
    assert compare(1, ours, recipe, True).verdict == "better"
    assert compare(1, ours, recipe, True, comparisons=20).verdict == "not distinguishable"
    values = {0: recipe, **dict.fromkeys(range(1, 5), ours)}
    trials = [finished(n, 1.0 + n) for n in range(5)]
    for number, group in values.items():
        trials += [finished(100 + 10 * number + i, v, confirms=number) for i, v in enumerate(group)]
    found = sum_up("x", trials, TuneSettings(max_images=900))
    assert [c.comparisons for c in found.comparisons] == [4] * 4
    expected = compare(1, ours, recipe, True, comparisons=4)
    assert (found.comparisons[0].low, found.comparisons[0].high) == (expected.low, expected.high)
    assert "95% for all 4 together" in " ".join(conclusion(found, TuneSettings(max_images=900)))


def test_values_that_do_not_vary_are_no_verdict() -> None:
    # As of missing classes, which are whole numbers.
    found = compare(1, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], True)
    assert (found.low, found.high, found.verdict) == (None, None, "not distinguishable")
    trials = [finished(0, 1.0)]
    for number, value in ((0, 1.0), (1, 0.0)):
        trials += [finished(100 + 10 * number + i, value, confirms=number) for i in range(3)]
    summed = sum_up("x", trials, TuneSettings(max_images=900))
    said = " ".join(conclusion(summed, TuneSettings(max_images=900)))
    assert "nothing says how far other seeds would" in said


def test_what_follows_another_setting_may_stand_before_it() -> None:
    base = override(recipe("mnist-mlp-tutorial"), {LR: "2e-4"})
    ratio, same = f"ratio({LR}, 0.5, 4)", f"same({LR})"
    texts = {
        "discriminator.optimizer.lr": ratio,
        "generator.optimizer.beta1": "same(discriminator.optimizer.beta1)",
        LR: "scale(0.5, 2)",
    }
    changes = Space(base, texts).changes({LR: 2.0, "discriminator.optimizer.lr": 4.0})
    assert changes["discriminator.optimizer.lr"].start == pytest.approx(1.6e-3)
    # Of a setting that the search leaves alone it is the recipe's own.
    assert changes["generator.optimizer.beta1"] == base.discriminator.optimizer.beta1
    circle = {LR: "same(discriminator.optimizer.lr)", "discriminator.optimizer.lr": same}
    with pytest.raises(UserError, match="follows itself"):
        Space(base, {**circle, "batch": "choice(32, 64)"})


def test_the_home_of_a_range_lies_in_it() -> None:
    assert Space(recipe("mnist-mlp-tutorial"), {LR: "scale(2, 10)"}).home() == {LR: 2.0}


def test_seeds_that_fell_ill_are_no_luck() -> None:
    confirmed = [finished(100 + n, 3.0 + n / 10, confirms=0) for n in range(3)]
    confirmed += [finished(200 + n, 1.0 + n / 10, confirms=1) for n in range(2)]
    trials = [finished(0, 3.0), finished(1, 1.0), *confirmed]
    (found,) = sum_up("x", trials, TuneSettings(max_images=900)).comparisons
    assert found.verdict == "better"
    trials.append(Trial(number=202, point={}, seed=2, confirms=1, state="ill", why="collapsed"))
    summed = sum_up("x", trials, TuneSettings(max_images=900))
    assert [c.verdict for c in summed.comparisons] == ["not distinguishable"]
    said = "\n".join(conclusion(summed, TuneSettings(max_images=900)))
    assert "trial 1: 1 of its 3 fresh seeds fell ill or failed" in said
