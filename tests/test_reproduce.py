"""Published experiments and the comparison of families: their arithmetic, without training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from scipy import stats

from benchmarks.compare.page import markdown, page
from benchmarks.compare.sides import SETS
from benchmarks.reproduce import burda, experiment, gaussians


def test_the_learning_rate_is_that_of_burda_et_al() -> None:
    schedule = burda.rate(burda.PASSES)
    for stage in range(8):
        first = (3**stage - 1) // 2  # passes before it: 1 + 3 + ... + 3^(stage - 1)
        wanted = 1e-3 * 10 ** (-stage / 7)
        for passes in (first, first + 3**stage - 1):
            assert schedule.at(passes * burda.IMAGES) == pytest.approx(wanted)
    short = burda.rate(328)
    assert short.at(327 * burda.IMAGES) == pytest.approx(1e-4)
    assert short.at(0) == 1e-3


@pytest.mark.parametrize("mixture", gaussians.MIXTURES)
def test_modes_are_counted_by_the_protocol(mixture: str) -> None:
    centres, deviation = gaussians.MIXTURES[mixture]()
    some = centres[:5].repeat(4, 1)
    found = gaussians.measured(some, centres, deviation)
    assert found["modes"] == 5
    assert found["high quality, %"] == 100
    assert found["KL from uniform, nats"] == pytest.approx(math.log(len(centres) / 5))
    aside = torch.tensor([2.9 * deviation, 0.0]), torch.tensor([3.1 * deviation, 0.0])
    found = gaussians.measured(
        torch.stack([centres[0] + each for each in aside]), centres, deviation
    )
    assert (found["modes"], found["high quality, %"]) == (1, 50)


def test_the_table_has_means_and_intervals_by_students_t(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "RECORDS", tmp_path)
    values = [1.0, 2.0, 4.0]
    for seed, value in enumerate(values):
        record = {
            **{"experiment": "e", "variant": "v", "seed": seed, "settings": {}, "differs": ""},
            **{"published": {"x": "2.5"}, "source": "a paper", "values": {"x": value}, "hours": 1},
        }
        (tmp_path / f"{seed}.json").write_text(json.dumps(record))
    half = stats.sem(values) * stats.t.ppf(0.975, 2)
    assert f"| x | 2.5 | 2.333 ± {half:.2g} | 3 | 1.00 |" in experiment.table(experiment.read())


def test_the_best_of_each_column_stands_out() -> None:
    def record(side: str, **values: float) -> dict[str, object]:
        return {"set": "mnist", "at": "images", "side": side, "seed": 0, "images": 10,
                "seconds": 1.0, "values": values}  # fmt: skip

    records = [record("GAN", frechet=3.0, recall=0.2), record("VAE", frechet=1500.0, recall=0.4)]
    text = markdown(records)
    assert "| GAN | 10 | 1 | **3** | 0.2 |" in text
    assert "| VAE | 10 | 1 | 1,500 | **0.4** |" in text
    drawn = page(records, {}, "a <machine>")
    assert "a &lt;machine&gt;" in drawn
    assert drawn.count("class=best") == 2


@pytest.mark.parametrize("name", SETS)
def test_sides_have_decoders_of_the_same_size(name: str) -> None:
    """The hidden layers between z and the image, whatever z is."""
    widths = set()
    for side in SETS[name]:
        config = side.config(name, 0)
        decoder = getattr(config, "decoder", None) or config.generator.network  # type: ignore[attr-defined]
        widths.add(
            (decoder.name, getattr(decoder, "widths", None), getattr(decoder, "width", None))
        )
    assert len(widths) == 1
