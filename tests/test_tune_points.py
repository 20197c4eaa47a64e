"""The points of a search: each a configuration of its own, whatever the space."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distgan.config.run import RunConfig
from distgan.config.settings import override, to_dict
from distgan.errors import UserError
from distgan.recipes import recipe
from distgan.storage.storage import Storage
from distgan.tune import results, trial
from distgan.tune.given import given
from distgan.tune.record import Measured, Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space

LR = "generator.optimizer.lr"
AUGMENT, TARGET = "discriminator.augment.name", "discriminator.augment.target"
BASE = recipe("mnist-mlp-tutorial")

SPACES = {
    "a choice": ({"batch": "choice(64, 128)"}, 2),
    "the recipe's own rate among others": ({LR: "choice(2e-4, 1e-3, 2e-3)"}, 3),
    "few whole numbers": ({"discriminator.updates": "randint(1, 3)"}, 3),
    "what one variant alone has": ({AUGMENT: "choice(none, ada)", TARGET: "choice(0.5, 0.7)"}, 3),
    "a large one": ({LR: "loguniform(1e-5, 1e-3)", "batch": "choice(64, 128)"}, 12),
}


def configurations(space: Space, settings: TuneSettings) -> list[str]:
    found = [override(BASE, space.changes(point)) for point in given(space, settings)]
    return [json.dumps(to_dict(config)) for config in found]


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("search", ["random", "grid"])
def test_no_configuration_is_trained_twice(name: str, search: str) -> None:
    texts, count = SPACES[name]
    settings = TuneSettings(search=search, samples=12)
    found = configurations(Space(BASE, texts), settings)
    assert found[0] == json.dumps(to_dict(BASE)), "the first is the recipe"
    assert len(set(found)) == len(found)
    if name != "a large one":
        assert len(found) == count
    elif search == "random":
        assert len(found) == 12


def test_a_small_space_is_found_whole() -> None:
    texts = {"discriminator.updates": "randint(1, 60)", "batch": "choice(64, 128)"}
    assert len(configurations(Space(BASE, texts), TuneSettings(samples=200))) == 120


def test_optuna_gives_every_point_once() -> None:
    pytest.importorskip("optuna")
    from distgan.tune.points import Optuna

    texts = {"discriminator.updates": "randint(1, 3)", "batch": "choice(64, 128)"}
    space, settings = (
        Space(BASE, texts),
        TuneSettings(search="optuna", samples=12, max_images=900, rung=100),
    )
    first = Trial(number=0, point={}, seed=0)
    asked = Optuna([first], [], range(1, 12), space, settings, 0, None)
    found = []
    while isinstance(trial := asked.suggest(f"trial-{len(found)}"), dict):
        found.append(space.key(trial["trial"]["point"]))
        asked.on_trial_complete(f"trial-{len(found) - 1}", {"rung": 1, "value": 1.0})
    assert len(found) == len(set(found)) == 6


def test_more_samples_begin_with_the_same_points() -> None:
    space = Space(BASE, {LR: "loguniform(1e-5, 1e-3)", "batch": "choice(64, 128)"})
    few, more = (given(space, TuneSettings(samples=n)) for n in (5, 9))
    assert more[:5] == few
    # Draws that are new go by their numbers, as they always did.
    assert [*few[1:]] == [space.draw(0, number) for number in range(1, 5)]


def test_what_one_variant_alone_has_counts_where_it_is_chosen() -> None:
    space = Space(BASE, {AUGMENT: "choice(none, ada)", TARGET: "uniform(0.4, 0.8)"})
    assert space.changes({AUGMENT: "none", TARGET: 0.5}) == {AUGMENT: "none"}
    assert space.changes({AUGMENT: "ada", TARGET: 0.5}) == {AUGMENT: "ada", TARGET: 0.5}
    changed = override(BASE, space.changes({AUGMENT: "ada", TARGET: 0.5}))
    assert to_dict(changed)["discriminator"]["augment"]["target"] == 0.5
    assert space.key({AUGMENT: "none", TARGET: 0.5}) == space.key({})


def test_settings_that_fit_alone_and_not_together_are_named() -> None:
    base = override(BASE, {"batch": 96})
    texts = {"batch": "choice(96, 64)", "accumulate": "choice(1, 3)"}
    with pytest.raises(UserError, match=r"holds batch=64, accumulate=3, which no run can have"):
        given(Space(base, texts), TuneSettings(search="grid"))


def test_every_whole_number_of_a_range_is_tried() -> None:
    base = override(BASE, {"accumulate": 4})
    with pytest.raises(UserError, match="does not divide the batch of 65"):
        Space(base, {"batch": "randint(64, 96)"})


def test_tables_have_types(tmp_path: pytest.TempPathFactory) -> None:
    texts = {
        LR: "loguniform(1e-5, 1e-3)",
        "batch": "choice(64, 128)",
        "loss": "choice(hinge, minimax)",
        "share_fakes": "choice(true, false)",
        "discriminator.penalty.r1": "choice(0, 0.1)",
        AUGMENT: "choice(none, ada)",
        TARGET: "uniform(0.4, 0.8)",
    }
    space, settings = Space(BASE, texts), TuneSettings(max_images=900)
    point = {LR: 1e-4, "batch": 64, "loss": "hinge", "share_fakes": True, TARGET: 0.5}
    point |= {"discriminator.penalty.r1": 0.1, AUGMENT: "ada"}
    final = Measured(9, 900, 100, 3.5, 3.0, 4.0)
    trials = [
        Trial(number=0, point={}, seed=0, state="failed", why="it was killed"),
        Trial(number=1, point=point, seed=0, state="finished", final=final),
    ]
    storage = Storage(str(tmp_path))
    results.write(storage, results.sum_up("x", trials, settings), BASE, space, settings)
    table = pq.read_table(f"{tmp_path}/trials.parquet")
    kinds = dict(zip(table.schema.names, table.schema.types, strict=True))
    expected = {"trial": pa.int64(), "confirms": pa.int64(), "frechet": pa.float64()}
    expected |= {"low": pa.float64(), "why": pa.string(), LR: pa.float64(), "batch": pa.int64()}
    expected |= {"loss": pa.string(), "share_fakes": pa.bool_(), TARGET: pa.float64()}
    assert {name: kinds[name] for name in expected} == expected
    first, second = table.to_pylist()
    assert {name: second[name] for name in point} == point
    assert (first["batch"], first[TARGET], first["frechet"]) == (BASE.batch, None, None)
    empty = results.trial_table([], BASE, space, settings)
    assert empty.schema.field("trial").type == pa.int64()


def test_a_default_space_holds_points_of_its_own() -> None:
    config: RunConfig = BASE

    found = configurations(Space(config, config.search_space()), TuneSettings(samples=40))
    assert len(set(found)) == 40


@pytest.mark.parametrize(
    "counts",
    [{"fake": 7}, {"fake": 0, "encoded": 7}, {"fake": 0, "translated": 7}],
    ids=["generated", "encoded", "translated"],
)
def test_a_trial_is_measured_by_images_of_any_kind(counts: dict[str, int]) -> None:
    settings = TuneSettings(metric="l1", rung=100)
    entry = {"images": 230, "card": counts, "values": {"l1": {"value": 0.5}}}
    found = trial._measured(entry, settings)
    assert (found.rung, found.images, found.num, found.value) == (2, 230, 7, 0.5)
