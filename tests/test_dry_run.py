"""`distgan train --dry-run` beside the run itself, and settings that would do nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from safetensors import safe_open

from distgan.cli import main
from distgan.config.settings import leaves, override
from distgan.config.shape import ImageShape
from distgan.families import DataSpec
from distgan.families.check import shapes
from distgan.recipes import recipe
from distgan.runs import checkpoint, records
from distgan.storage.storage import Storage

SMALL = (
    *("--workers", "0", "--images", "640", "--batch", "64", "--output.log_every", "128"),
    *("--output.checkpoint_every", "256", "--generator.network.widths", "8"),
    *("--discriminator.network.widths", "8", "--out", "run"),
)


@pytest.mark.slow
def test_it_tells_what_the_run_then_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "mnist-mlp", *SMALL, "--dry-run"]) == 0
    said = dict(re.findall(r"^(\w+(?: to)?) {2,}(.*)$", capsys.readouterr().out, re.MULTILINE))
    assert not list(tmp_path.iterdir()), "nothing is written"
    assert main(["train", "mnist-mlp", *SMALL]) == 0
    run = Storage(tmp_path / "run")
    assert said["records"].startswith(f"{len(records.read(run))}, one every 128 ")
    # The last one comes at the end, of which no multiple of the interval tells.
    seen = [entry["images_seen"] for entry in checkpoint.index(run)]
    assert seen == [512, 640]
    assert said["checkpoints"] == "2, one every 256 images, and at the end; the last 2 stay"
    for role in ("generator", "discriminator"):
        with safe_open(tmp_path / "run" / f"{role}.safetensors", "numpy") as file:
            count = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
        assert f"{role} of {count:,} weights" in said["networks"]
    assert said["updates"].startswith("10 of 64 images each")
    capsys.readouterr()
    assert main(["train", "mnist-mlp", *SMALL, "--dry-run"]) == 2
    assert "--out run: holds another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--out .", "is not empty (mine)"),
        ("--workers 129", "more workers than images in a batch"),
        ("--resume mine", "--dry-run: is of new runs"),
        ("--out /dev/null/x", "/dev/null is no folder"),
        ("--generator.network.name dcgan --data odd.parquet", "no such set"),
    ],
)
def test_it_refuses_what_the_run_would(
    words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert main(["train", "--dry-run", *words.split()]) == 2
    assert expected in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


IDLE = {
    "mnist-mlp --generator.network.embedding 32": "without --conditional true",
    "mnist-mlp --discriminator.network.conditioning projection": "without --conditional true",
    "mnist-mlp --conditional true --discriminator.auxiliary 2": "conditioning auxiliary",
    "mnist-mlp-tutorial --discriminator.penalty.every 1280": "without a penalty on gradients",
    "mnist-mlp --discriminator.penalty.lecam_half_life 9": "without --discriminator.penalty.lecam",
    "mnist-mlp --health.rollbacks 9": "without --health.action rollback",
    "cifar10-sngan --generator.ema.ramp_up 0.1": "with --generator.ema.half_life 0",
    "cifar10-r3gan --discriminator.augment.target 0.5": "with --discriminator.augment.probability",
    "mnist-mlp --discriminator.penalty.at raw": "without an augmentation",
    "mnist-mlp-tutorial --discriminator.augment.name flip --discriminator.penalty.at raw": (
        "without --discriminator.penalty.r1 or"
    ),
    "mnist-mlp --generator.fresh_reals true": "with --loss non-saturating",
    "mnist-vae --encoder.embedding 3": "without --conditional true",
}


@pytest.mark.parametrize("line", IDLE)
def test_a_typed_setting_without_effect_is_refused(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", *line.split()]) == 2
    said = capsys.readouterr().err
    assert re.search(
        f"has no effect .*{re.escape(IDLE[line])}.*; change that, or leave it out", said
    )


@pytest.mark.parametrize("network", ["mlp", "dcgan", "sngan", "r3gan"])
@pytest.mark.parametrize("conditional", [False, True])
def test_idle_settings_of_networks_are_those_that_change_no_weight(
    network: str, conditional: bool
) -> None:
    named = {f"{role}.network.name": network for role in ("generator", "discriminator")}
    config = override(recipe("mnist-mlp"), {**named, "conditional": conditional})
    data = DataSpec.numbered(ImageShape(1, 32, 32), 10)

    def weights(changes: dict[str, object]) -> dict[str, dict[str, object]]:
        made = shapes(override(config, changes), data)
        return {
            role: {n: w.shape for n, w in net.state_dict().items()} for role, net in made.items()
        }

    usual, idle = weights({}), {name for name, _ in config.idle()}
    for setting in leaves(config):
        if setting.name.endswith(".embedding"):
            assert (weights({setting.name: 7}) == usual) == (setting.name in idle)
        elif setting.name.endswith(".conditioning"):
            other = "concat" if setting.value != "concat" else "batchnorm"
            if setting.name.startswith("discriminator") and other == "batchnorm":
                other = "projection"
            assert (weights({setting.name: other}) == usual) == (setting.name in idle)
