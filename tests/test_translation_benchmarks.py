"""Benchmarks of translations: do both sides compute the same, and is what was found told?"""

from __future__ import annotations

import pytest
import torch

from benchmarks import translators
from benchmarks.textbook_translation import in_torch_layers
from benchmarks.translators import TRANSLATIONS
from distgan.config.settings import override
from distgan.families import Batch
from distgan.families.data import DataSpec
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.training.state import TrainingState

_SMALL = {"generator.network.width": 4, "discriminator.network.width": 4, "batch": 2}


@pytest.mark.parametrize("name", ["W5", "W7"])
def test_distgan_computes_what_the_textbook_does(name: str) -> None:
    workload = TRANSLATIONS[name]
    config = override(workload.config, {**_SMALL, "precision": "float64"})
    data = DataSpec(ImageShape(1, 16, 16), other=ImageShape(1, 16, 16))
    state = TrainingState(config, data, World())
    torch.manual_seed(config.seed)
    family = state.family
    modules = {role: net.module.double() for role, net in family.networks().items()}
    start = {role: [w.detach().clone() for w in m.parameters()] for role, m in modules.items()}
    plain = {role: in_torch_layers(module) for role, module in modules.items()}
    update = translators.update(plain, translators.rule_of(config))
    torch.manual_seed(5)
    for _ in range(3):
        columns = {each: torch.rand(2, 1, 16, 16).double() * 2 - 1 for each in family.columns()}
        state.step([Batch(columns, {})])
        update(*family.sides(Batch(columns, {})))
    for role, module in plain.items():
        ours = list(state.networks[role].network.parameters())
        pairs = zip(module.parameters(), ours, strict=True)
        assert all((weight - other).abs().max() < 1e-9 for weight, other in pairs)
        moved = zip(ours, start[role], strict=True)
        assert max((weight - before).abs().max().item() for weight, before in moved) > 1e-4
