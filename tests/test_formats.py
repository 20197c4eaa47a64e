"""A run that was written once, and stays readable: resumed, sampled, measured, reported.

``fixtures/run`` was made with ``distgan train mnist-mlp --workers 0 --images 128 --batch 64
--latent 4 --generator.network.widths 8 --discriminator.network.widths 8 --output.log_every 64``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import distgan
from distgan.cli import main
from distgan.runs import checkpoint, records
from distgan.runs.export import load_discriminator, load_generator
from distgan.storage.storage import Storage

FIXTURE = Path(__file__).with_name("fixtures") / "run"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURE, tmp_path / "run")
    return tmp_path / "run"


def test_a_kept_run_is_read(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run), "--out", str(run.parent / "grid.png"), "--num", "9"]) == 0
    options = ["--num", "100", "--metrics", "frechet", "--workers", "0"]
    assert main(["evaluate", str(run), *options]) == 0
    assert main(["report", str(run)]) == 0
    assert load_discriminator(str(run))(torch.zeros(2, 1, 28, 28), None).shape == (2,)
    exported = load_generator(str(run)).sample(3)
    (run / "generator.json").unlink()
    # From the checkpoint, which says itself what the images are: no data set is opened.
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("data: mnist", "data: nowhere.parquet"))
    assert torch.equal(load_generator(str(run)).sample(3), exported)


def test_a_kept_run_goes_on(run: Path) -> None:
    result = distgan.resume(str(run), {"images": 256}, workers=0)
    assert result.images_seen == 256
    assert [r["images"] for r in records.read(Storage(run))] == [64, 128, 192, 256]


def rewritten(run: Path, change: Any) -> None:
    """The newest checkpoint as ``change`` makes it, whole by its index."""
    (entry,) = json.loads((run / "checkpoints" / "index.json").read_text())
    file = run / entry["file"]
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)
    entry["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (run / "checkpoints" / "index.json").write_text(json.dumps([entry]))


def to_first_format(state: dict[str, Any]) -> None:
    # As it was before networks had roles.
    del state["format"]
    networks, averages = state.pop("networks"), state.pop("averages")
    state |= {**networks, "ema": averages["generator"]}
    for role, optimizer in state.pop("optimizers").items():
        state[f"{role}_optimizer"] = optimizer


def test_a_run_of_the_first_format_is_refused_in_one_sentence(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(run, to_first_format)
    (run / "generator.json").unlink()
    for words in (["train", "--resume", str(run), "--images", "256", "--workers", "0"],):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "is of format 1, and this distgan reads 2; go on with the distgan" in said
    assert checkpoint.index(Storage(run))[0]["images_seen"] == 128


def test_a_card_of_an_older_format_is_refused_in_one_sentence(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.loads((run / "generator.json").read_text())
    (run / "generator.json").write_text(json.dumps({**card, "format": 2}))
    assert main(["sample", str(run), "--out", str(run.parent / "grid.png")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "generator.json: is of format 2, of an older distgan" in said
