"""The Python behind `distgan evaluate`: a run that is over, or stopped, measured by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from distgan import features, run, settings
from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.evaluate.evaluation import Evaluation, Evaluator
from distgan.export import load_generator
from distgan.parallel import World
from distgan.storage import Storage


def evaluate(uri: str, changes: Mapping[str, Any] | None = None) -> Evaluation:
    """Measure the newest generator of a run, and keep the result in its folder.

    In this process, on a GPU where there is one.

    Args:
        uri: path or URI of the run.
        changes: settings of `EvaluateSettings` by name; the others are the run's own.

    Raises:
        UserError: when there is no run, or a setting does not fit.
    """
    storage = Storage(uri)
    config = run.load_config(storage, "RUN")
    named = {f"evaluate.{name}": value for name, value in (changes or {}).items()}
    config = settings.override(config, named)
    images = open_images(config.data)
    features.resolve(config.evaluate.features, images.shape)
    generator = load_generator(uri, config.evaluate.weights)
    if not generator.images_seen:
        raise UserError(f"RUN {uri}: has not trained yet; go on with --resume {uri}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    evaluator = Evaluator(
        config.evaluate,
        images,
        config.data,
        generator.latent,
        len(generator.classes),
        World(device=device),
    )
    found = evaluator.evaluate(generator.network.to(device), generator.images_seen)
    evaluation.remember(storage, found)
    return found
