"""What `show`, `recipes` and `completion` tell of settings, and that none is left out or cut."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from distgan.cli import main, units
from distgan.config.settings import leaves, override
from distgan.recipes import RECIPES, measured, recipe


def shown(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(line.split()) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_show_has_every_setting_whole_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("show cifar10-r3gan", capsys)
    said = dict(re.findall(r"^  --(\S+)  (\S+)$", text, re.MULTILINE))
    every = {s.name: s for s in leaves(recipe("cifar10-r3gan")) if s.name != "recipe"}
    assert said.keys() == every.keys()
    assert said["generator.ema.half_life"] == "0:5e+06:20000000"
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for setting in every.values():
        assert " ".join(setting.help.split()) in words


def test_a_word_of_show_finds_groups_names_and_variants(capsys: pytest.CaptureFixture[str]) -> None:
    def names(words: str) -> list[str]:
        return re.findall(r"^  --(\S+)  ", shown(f"show mnist-mlp {words}", capsys), re.MULTILINE)

    assert names("lr") == ["generator.optimizer.lr", "discriminator.optimizer.lr"]
    augment = names("augment")
    assert augment[0] == "discriminator.augment.name"
    # What a variant brings is what there is once it is chosen.
    ada = override(recipe("mnist-mlp"), {"discriminator.augment.name": "ada"})
    wanted = [s.name for s in leaves(ada) if s.name.startswith("discriminator.augment.")]
    assert set(wanted) <= set(augment)
    assert names("generator.optimizer beta1")[-1] == "discriminator.optimizer.beta1"
    assert names("Karras") == ["discriminator.penalty.every"]
    assert main(["show", "mnist-mlp", "augmnt"]) == 2
    assert "did you mean augment?" in capsys.readouterr().err


def test_recipes_tell_sizes_and_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("recipes", capsys)
    assert max(map(len, text.splitlines())) <= 80
    (row,) = [line.split() for line in text.splitlines() if line.startswith("cifar10-r3gan ")]
    # As published: 20.8 and 21.3 million weights.
    assert row[1:4] == ["32x32x3", "250M", "20.8M+21.3M"]
    (row,) = [line.split() for line in text.splitlines() if line.startswith("mnist-vae ")]
    assert len(row) == 4, "blank where nothing was measured"
    assert {*measured.SPEED, *measured.QUALITY} <= RECIPES.keys()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (42, "42 s"), (102, "1.7 min"), (8e4, "22 hours"), (2.27e8, "7.2 years")],
)
def test_times_have_a_unit_that_suits_them(seconds: float, text: str) -> None:
    assert units.span(seconds) == text


def test_numbers_keep_their_significant_digits() -> None:
    assert [units.significant(n) for n in (1234.5, 12.3456, 0.0026, 2.6e-7)] == [
        *("1,234", "12.3", "0.00260", "2.60e-07")
    ]
    assert [units.short_count(n) for n in (40, 999_999, 1_500_000)] == ["40", "1M", "1.5M"]


COMPLETED = {
    "distgan tr": "train translate",
    "distgan train mnist-d": "mnist-dcgan",
    "distgan train --device g": "gpu",
    "distgan train --device = g": "gpu",
    "distgan train --generator.optimizer.l": "--generator.optimizer.lr",
    "distgan train mnist-mlp --discriminator.augment.t": "--discriminator.augment.target",
    "distgan tune --parallel.compress f": "false",
    "distgan data prepare --cr": "--crop",
    "distgan data i": "info",
    "distgan guide tu": "tuning",
    "distgan sample --generator.optimizer.l": "",
    "distgan train --out mnist": "",
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes(capsys: pytest.CaptureFixture[str]) -> None:
    script = [shown("completion bash", capsys)]
    for line in COMPLETED:
        words = line.split(" ")
        script.append(f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _distgan")
        script.append('echo "${COMPREPLY[*]}"')
    done = subprocess.run(["bash", "-s"], input="\n".join(script), capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == list(COMPLETED.values())


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_scripts(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(f"completion {shell}", capsys)
    assert "discriminator.augment.target" in text
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
        assert (done.stderr, done.returncode) == ("", 0)
