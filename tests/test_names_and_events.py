"""The names of metrics are one list everywhere; what TensorBoard is given; a search's best file."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from distgan.config.evaluate import EvaluateSettings
from distgan.config.settings import from_dict, override, to_dict
from distgan.errors import UserError
from distgan.evaluate.measures import MEASURES
from distgan.families.registry import from_yaml, to_yaml
from distgan.metrics import names
from distgan.recipes import recipe
from distgan.runs.grid import grid_png
from distgan.runs.records import Recorder
from distgan.storage.storage import Storage
from distgan.tune import results
from distgan.tune.record import Measured, Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space


def test_every_name_of_a_metric_is_known_to_both_commands() -> None:
    assert tuple(MEASURES) == names.IMAGE_METRICS
    for name in names.NAMES:
        found = from_dict(EvaluateSettings, {"metrics": name})
        assert len(found.metrics) == 1
        others = (*names.AUTOENCODER_METRICS, *names.TRANSLATION_METRICS, *names.CLIP_METRICS)
        assert found.metrics[0] in (*MEASURES, *others)
        if name == "kl-dimensions":
            with pytest.raises(UserError, match="none of them is better"):
                from_dict(TuneSettings, {"metric": name})
        elif name in names.METRICS and name not in names.VALUES:
            with pytest.raises(UserError, match="name one of") as caught:
                from_dict(TuneSettings, {"metric": name})
            values = str(caught.value).partition("name one of ")[2].split(", ")
            assert {names.metric_of(value) for value in values} == {name}
        else:
            assert from_dict(TuneSettings, {"metric": name}).metric == name


def test_fid_is_frechet_through_inception_in_both_commands() -> None:
    found = from_dict(EvaluateSettings, {"metrics": "fid,kid,recall,precision"})
    assert (found.metrics, found.features) == (("frechet", "kernel", "manifold"), "inception")
    assert from_dict(EvaluateSettings, to_dict(found)) == found, "also once it is written down"
    settled = TuneSettings(metric="fid").settle(recipe("mnist-mlp"))
    assert (settled.value, settled.features) == ("frechet", "inception")
    with pytest.raises(UserError, match="fid is measured through inception"):
        override(recipe("mnist-mlp"), {"evaluate.metrics": "fid", "evaluate.features": "mnist"})
    with pytest.raises(UserError, match="no such metric, did you mean fid"):
        from_dict(EvaluateSettings, {"metrics": "fidd"})


def test_the_best_configuration_has_the_images_it_was_found_with(tmp_path: Path) -> None:
    base = recipe("mnist-mlp")
    space = Space(base, {"batch": "choice(32, 64)"})
    settings = TuneSettings(max_images=20_000).settle(base)
    trial = Trial(
        number=0, point={"batch": 64}, seed=0, state="finished", images=20_000,
        final=Measured(rung=9, num=5_000, images=20_000, value=5.0, low=4.0, high=6.0),
    )  # fmt: skip
    found = results.sum_up(str(tmp_path), [trial], settings)
    results.write(Storage(tmp_path), found, base, space, settings)
    best = from_yaml((tmp_path / results.BEST).read_text(), "best.yaml")
    assert (best.images, best.batch) == (20_000, 64)


def events(folder: Path) -> list[Any]:
    """The events of every file of a folder, read by TensorFlow's record format alone."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.iterdir()):
        stream = io.BytesIO(file.read_bytes())
        while head := stream.read(12):
            (length,) = struct.unpack("<Q", head[:8])
            found.append(Event.FromString(stream.read(length)))
            stream.read(4)
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_tensorboard_gets_grids_and_the_configuration(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 8, 8, channels), dtype=np.uint8)
    png = grid_png(pixels, 2)
    recorder = Recorder(Storage(tmp_path), 0)
    recorder.add_text(0, "config", to_yaml(recipe("mnist-mlp")))
    recorder.add_picture(0, "samples", png)
    recorder.add({"images": 64, "d_loss": 1.5})
    recorder.add_picture(128, "samples", png)
    recorder.close()
    values = [
        (e.step, value) for e in events(tmp_path / "tensorboard") for value in e.summary.value
    ]
    pictures = [(step, v.image) for step, v in values if v.tag == "samples"]
    assert [step for step, _ in pictures] == [0, 128]
    for _, image in pictures:
        with Image.open(io.BytesIO(image.encoded_image_string)) as shown:
            assert shown.size == (image.width, image.height)
            assert len(shown.getbands()) == image.colorspace == channels
    (text,) = [v.tensor.string_val[0].decode() for _, v in values if v.tag.startswith("config")]
    assert "    recipe: mnist-mlp" in text
    assert [(step, v.simple_value) for step, v in values if v.tag == "d_loss"] == [(64, 1.5)]
