"""The command line as a user meets it: in a process, mistakes included."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distgan.families.registry import from_yaml
from distgan.runs import checkpoint, records
from distgan.storage.storage import Storage

from .conftest import Run
from .test_data import BROKEN, broken

QUICK = [
    *("--workers", "0", "--images", "2560", "--output.log_every", "640"),
    *("--generator.network.widths", "16", "--discriminator.network.widths", "16"),
]
"""Options of a run that takes a second."""


def mistake(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that a mistake costs."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("distgan: ")
    return lines[0]


MISTAKES = {
    "train mnist-mpl": "'mnist-mpl': no such recipe, did you mean mnist-mlp?",
    "train --generator.lr 1": "did you mean --generator.optimizer.lr?",
    "train --imagse 3": "--imagse: no such option or setting, did you mean --images?",
    "train --worker=0": "--worker: no such option or setting, did you mean --workers?",
    "train --verbos": "'--verbos': no such option, did you mean --verbose?",
    "train --device cup": "--device 'cup': no such choice, did you mean cpu?",
    "train --generator.network dcgan": "did you mean --generator.network.name dcgan?",
    "train --batch many": "--batch 'many': should be a valid integer",
    "train --batch 0": "--batch '0': should be greater than 0",
    "train --accumulate 3": "--accumulate 3: does not divide the batch of 64",
    "train cifar10-dcgan": "is not here yet; make it with `distgan data prepare cifar10",
    "train --generator.optimizer.beta1 1.5": "beta1 '1.5': should be at least 0",
    "train --loss minmax": "did you mean minimax?",
    "train --seed": "--seed: expected one argument",
    "train --generator.optimizer.lr": "--generator.optimizer.lr: needs a value",
    "train mnist-mlp extra": "unrecognized arguments: extra",
    "train --workers 65": "--workers 65: more workers than images in a batch (64)",
    "train --workers 64 --accumulate 4": "a micro-batch (16, with --accumulate 4)",
    "train --compile on --health.action rollback --health.change both": (
        "added by --health.change both after a rollback; use halve-lr"
    ),
    "train --workers -1": "--workers -1: should be 0 or more",
    "train --workers x": "--workers x: should be a number, such as 4, or MIN:MAX",
    "train --device gpu": "--device gpu: there is no GPU here",
    "train --resume nowhere": "--resume nowhere: holds no run",
    "train --data mnits": "--data mnits: no such set, file or folder, did you mean mnist?",
    "train --out nonsense://x": "nonsense://x: not a path or URI",
    "train --out /dev/null/x": "/dev/null/x: cannot be written",
    "train --config nowhere.yaml": "--config nowhere.yaml: there is no such file",
    "train mnist-mlp --config x.yaml": "mnist-mlp: --config names a configuration already",
    "sample nowhere": "RUN nowhere: holds no run",
    "report nowhere": "RUN nowhere: holds no run",
    "report": "the following arguments are required: RUN",
    "show mnist-mpl": "did you mean mnist-mlp?",
    "data info nowhere": "URI nowhere: no such set",
    "data prepare nowhere --out x": "nowhere: no such file or folder",
    "trian": "'trian': no such command, did you mean train?",
    "data prepar x": "did you mean prepare?",
    "sample x --nmu 3": "unrecognized arguments: --nmu 3, did you mean --num?",
    "data info x --pictre y": "did you mean --picture?; see `distgan data info --help`",
    "recipes --loud": "unrecognized arguments: --loud; see `distgan recipes --help`",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_costs_one_line(distgan: Run, tmp_path: Path, line: str) -> None:
    assert MISTAKES[line] in mistake(distgan(*line.split(), RAY_ADDRESS=""))
    assert not list(tmp_path.iterdir()), "nothing was left behind"


PREPARED = {"empty folder", "labels of text", "mixed shapes"}
"""What `distgan train` takes for images to prepare; tests/test_photos.py says what comes of it."""


@pytest.mark.slow
@pytest.mark.parametrize("how", [how for how in BROKEN if how not in PREPARED])
def test_a_broken_set_costs_one_line(distgan: Run, tmp_path: Path, how: str) -> None:
    (tmp_path / "data").mkdir()
    path = broken(tmp_path / "data", how)
    assert BROKEN[how] in mistake(distgan("train", "mnist-mlp", *QUICK, "--data", path))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the conditional recipe."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "distgan", "train", "mnist-mlp-conditional", *QUICK]
    subprocess.run([*command, "--out", "run"], cwd=folder, check=True, capture_output=True)
    return folder / "run"


def test_a_run_leaves_what_it_promises(trained: Path) -> None:
    assert {p.name for p in trained.iterdir()} == {
        *(
            "config.yaml",
            "data.json",
            "owner.json",
            "environment.json",
            "metrics.jsonl",
            "tensorboard",
            "samples",
            "train.log",
        ),
        *(
            "checkpoints",
            "discriminator.safetensors",
            "generator.safetensors",
            "generator_ema.safetensors",
            "generator.json",
        ),
    }
    environment = json.loads((trained / "environment.json").read_text())["starts"][0]
    assert environment["workers"] == 1
    assert environment["versions"]["torch"]
    recorded = records.read(Storage(trained))
    assert [r["images"] for r in recorded] == [640, 1280, 1920, 2560]
    wanted = ("d_loss", "g_loss", "d_real", "d_fake", "d_grad_norm", "g_grad_norm")
    for record in recorded:
        assert all(np.isfinite(record[name]) for name in (*wanted, "images_per_second"))
        assert 0 <= record["data_wait"] <= 1
    grids = sorted(p.name for p in (trained / "samples").iterdir())
    assert grids == ["images-000000000000.png", "images-000000002560.png"]


def test_what_is_said_at_the_end_can_be_typed(distgan: Run, trained: Path, tmp_path: Path) -> None:
    result = distgan("train", *QUICK, "--out", "run")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "Traceback" not in result.stdout
    (line,) = [text for text in result.stdout.splitlines() if "distgan sample" in text]
    said = line.split("distgan ")[1].split()
    assert distgan(*said).returncode == 0
    assert Image.open(tmp_path / "run-samples.png").width > 200
    (line,) = [text for text in result.stdout.splitlines() if "--resume" in text]
    assert distgan(*line.split("distgan ")[1].split(), "--workers", "0").returncode == 0


def test_sample_by_label_and_seed(distgan: Run, trained: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        options = ["--num", "5", "--label", "3", "--seed", seed, "--out", f"{name}.png"]
        assert distgan("sample", str(trained), *options).returncode == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    said = mistake(distgan("sample", str(trained), "--label", "10"))
    assert "--label 10: this generator has labels 0 to 9" in said
    assert "--num 0: should be at least 1" in mistake(distgan("sample", str(trained), "--num", "0"))


def test_out_that_holds_another_run(distgan: Run, trained: Path) -> None:
    before = sorted(p.stat().st_mtime_ns for p in trained.rglob("*"))
    said = mistake(distgan("train", *QUICK, "--out", str(trained)))
    assert "holds another run; go on with it by --resume" in said
    assert sorted(p.stat().st_mtime_ns for p in trained.rglob("*")) == before


def test_resume_under_a_changed_network(distgan: Run, trained: Path) -> None:
    changed = ["--generator.network.widths", "32", "--images", "9999"]
    said = mistake(distgan("train", "--resume", str(trained), "--workers", "0", *changed))
    assert "--generator.network.widths (32,): the run" in said
    assert "has (16,)" in said
    config = (trained / "config.yaml").read_text()
    try:
        (trained / "config.yaml").write_text(config.replace("- 16", "- 32"))
        again = ["--workers", "0", "--images", "9999"]
        said = mistake(distgan("train", "--resume", str(trained), *again))
        assert "the checkpoint's networks.generator does not fit" in said
    finally:
        (trained / "config.yaml").write_text(config)


def test_resume_of_a_complete_run(distgan: Run, trained: Path) -> None:
    said = mistake(distgan("train", "--resume", str(trained), "--workers", "0"))
    assert "is complete at 2,560 images; give a larger --images" in said


def test_labels_that_the_set_lacks(distgan: Run, tmp_path: Path) -> None:
    from .test_data import encoded, png

    path = encoded(tmp_path / "a.parquet", [png(1)] * 3)
    said = mistake(distgan("train", "mnist-mlp-conditional", *QUICK, "--data", path))
    assert "has no labels" in said


def test_images_that_the_network_cannot_make(distgan: Run, tmp_path: Path) -> None:
    from .test_data import encoded, png

    path = encoded(tmp_path / "a.parquet", [png(1, (9, 9))] * 3)
    said = mistake(distgan("train", "mnist-dcgan", "--workers", "0", "--data", path))
    assert "--generator.network.name dcgan: needs images with even sides" in said


def test_an_address_where_no_cluster_answers(distgan: Run) -> None:
    said = mistake(distgan("train", "--address", "127.0.0.1:1", "--images", "128"))
    assert "--address 127.0.0.1:1: no Ray cluster answers" in said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1.2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# For two minutes the run hopes that space comes back.
@pytest.mark.slow
@pytest.mark.drill
def test_a_full_disk_while_saving(distgan: Run, small_disk: Path) -> None:
    run = small_disk / "run"
    often = ["--output.checkpoint_every", "128", "--output.keep_checkpoints", "9"]
    said = mistake(distgan("train", *QUICK, *often, "--out", str(run)))
    assert "no space left to write it" in said
    assert f"{run}/checkpoints/images-" in said
    kept = checkpoint.index(Storage(run))
    assert len(kept) >= 1
    state = checkpoint.load_newest(Storage(run))
    assert state is not None
    assert state["images_seen"] == kept[-1]["images_seen"]
    assert not [p for p in run.rglob("*") if p.name.endswith(".tmp")]


def test_help_teaches_and_imports_nothing_slow(distgan: Run) -> None:
    # A fresh interpreter: that of `distgan` has libraries in it already.
    asks = (
        "import sys; from distgan.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    )
    slow = "{'torch', 'ray', 'pyarrow', 'numpy', 'pydantic'} & sys.modules.keys()"
    answer = [sys.executable, "-c", f"{asks}\nprint('slow:', *sorted({slow}))"]
    said = subprocess.run(answer, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "slow:"
    top = distgan("--help")
    assert all(verb in top.stdout for verb in ("train", "sample", "recipes", "show", "data"))
    assert "--resume runs/one --images 3M" in distgan("train", "--help").stdout


def test_recipes_and_show(distgan: Run) -> None:
    listed = distgan("recipes").stdout
    assert "mnist-dcgan" in listed
    assert "G sees [z; e]" in listed
    shown = distgan("show", "mnist-mlp", "--batch", "64", "--generator.optimizer.lr=3e-4").stdout
    assert "--generator.network.widths" in shown
    assert "0.0003" in shown
    assert "batch: 64" in distgan("show", "mnist-mlp", "--yaml", "--batch", "64").stdout


def test_data_info_draws_a_row_of_each_class(distgan: Run, tmp_path: Path) -> None:
    result = distgan("data", "info", "mnist")
    assert "60,000" in result.stdout
    assert "all verified" in result.stdout
    assert ["7", "7", "6,265"] in [line.split() for line in result.stdout.splitlines()]
    assert min(Image.open(tmp_path / "mnist-info.png").size) > 500


def test_a_configuration_from_a_file(distgan: Run, tmp_path: Path) -> None:
    shown = distgan("show", "mnist-mlp", "--yaml", "--batch", "32", "--images", "64")
    (tmp_path / "my.yaml").write_text(shown.stdout)
    words = ("--config", "my.yaml", "--seed", "5", "--workers", "0", "--out", "run")
    assert distgan("train", *words).returncode == 0
    saved = from_yaml((tmp_path / "run" / "config.yaml").read_text(), "run")
    assert (saved.batch, saved.images, saved.seed) == (32, 64, 5)
    assert "--config: a resumed run" in mistake(
        distgan("train", "--resume", "run", "--config", "my.yaml")
    )


def test_resume_on_another_set(distgan: Run, tmp_path: Path) -> None:
    from .test_data import encoded, png

    data = tmp_path / "a.parquet"
    encoded(data, [png(v) for v in range(9)])
    run = ["--out", "run", "--data", str(data)]
    assert distgan("train", "mnist-mlp", *QUICK, *run).returncode == 0
    encoded(data, [png(v) for v in range(8)])
    again = ["--workers", "0", "--images", "9999"]
    said = mistake(distgan("train", "--resume", "run", *again))
    assert "holds other images than the run run was trained on, which were 9 of 4x6x1" in said


def test_a_damaged_checkpoint_is_said_and_the_one_before_used(distgan: Run, tmp_path: Path) -> None:
    assert (
        distgan("train", *QUICK, "--output.checkpoint_every", "640", "--out", "run").returncode == 0
    )
    newest = tmp_path / "run" / checkpoint.index(Storage(tmp_path / "run"))[-1]["file"]
    newest.write_bytes(newest.read_bytes()[:-9])
    result = distgan("train", "--resume", "run", "--workers", "0", "--images", "5120")
    assert result.returncode == 0, result.stderr
    assert f"{newest.name} is damaged or missing; using the one before" in result.stdout
