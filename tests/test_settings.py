"""Settings by dotted name, and the sentences for those that do not fit."""

from __future__ import annotations

import pytest

from distgan.config.settings import leaves, override
from distgan.errors import UserError
from distgan.families.registry import from_yaml, to_yaml
from distgan.recipes import RECIPES, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_yaml_brings_back_the_same_configuration(name: str) -> None:
    config = recipe(name)
    assert from_yaml(to_yaml(config), "config.yaml") == config


def test_every_setting_has_a_help_text_and_can_be_set_to_its_own_value_as_text() -> None:
    for name in RECIPES:
        config = recipe(name)
        for setting in leaves(config):
            assert setting.help, setting.name
            value = setting.value
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert override(config, {setting.name: text}) == config


@pytest.mark.parametrize(
    ("text", "images"),
    [("1.5M", 1_500_000), ("300k", 300_000), ("1e6", 1_000_000), ("7_000", 7_000)],
)
def test_counts_as_people_write_them(text: str, images: int) -> None:
    assert override(recipe("mnist-mlp-tutorial"), {"images": text}).images == images


def test_changing_a_network_starts_from_its_defaults() -> None:
    config = override(
        recipe("mnist-mlp-tutorial"),
        {"generator.network.width": "32", "generator.network.name": "dcgan"},
    )
    assert config.generator.network.name == "dcgan"
    assert config.generator.network.width == 32


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("batch", "-3", "--batch '-3': should be greater than 0"),
        ("btach", "3", "--btach: no such setting, did you mean --batch?"),
        (
            "generator.lr",
            "1",
            "--generator.lr: no such setting, did you mean --generator.optimizer.lr?",
        ),
        ("generator.optimizer.lr", "x", "--generator.optimizer.lr 'x': should be a number"),
        ("generator.network.width", "3", "did you mean --generator.network.widths?"),
        ("generator", "3", "--generator: is a group of settings; name one of generator.network"),
        ("loss", "hinge-ish", "--loss 'hinge-ish': no such loss, did you mean hinge?; have"),
        ("loss", "minmax", "did you mean minimax?"),
        ("precision", "float16", "--precision 'float16': should be 'float32', 'bf16' or 'float64'"),
        ("generator.network.name", "dcgna", "did you mean dcgan?; have mlp, dcgan"),
        ("generator.network.widths", "12,x", "--generator.network.widths.1 'x': should be a valid"),
        ("no.such.thing", "3", "--no.such.thing: no such setting"),
    ],
)
def test_what_is_said_of_a_mistake(name: str, value: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        override(recipe("mnist-mlp-tutorial"), {name: value})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a", "batch: [", "recipe: x\nbatch: 3\nwhat: 1"])
def test_a_damaged_config_file_is_named(text: str) -> None:
    with pytest.raises(UserError, match=r"runs/a/config\.yaml"):
        from_yaml(text, "runs/a/config.yaml")
