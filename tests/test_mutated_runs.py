"""Runs whose files somebody, or some disk, has changed: every verb says so in one line, or goes on.

Each file of a run's folder is cut, emptied, replaced, bent and flipped, and handed to the verbs
that read it, in this process, where a library's exception would reach the test itself.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from distgan.cli import main
from distgan.report import write

Capture = pytest.CaptureFixture[str]

FILES = (
    *("config.yaml", "environment.json", "metrics.jsonl", "evaluations.jsonl", "events.jsonl"),
    *("interventions.jsonl", "generator.json", "generator_ema.safetensors"),
    *("checkpoints/index.json", "checkpoints/images-000000000064.pt"),
    "samples/images-000000000064.png",
)

READERS = {
    "sample": ("config", "generator", "index", ".pt"),
    "report": ("config", "environment", "metrics", "evaluations", "events", "samples"),
    "evaluate": ("config", "generator", "index", "evaluations"),
    "resume": ("config", "jsonl", "environment", "index", ".pt", "generator.json"),
}
"""The verbs, and parts of the names of the files that each reads."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that is over, with a file of every kind."""
    folder = tmp_path_factory.mktemp("mutated")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    np.save(folder / "a.npy", pixels)
    data = str(folder / "set")
    assert main(["data", "prepare", str(folder / "a.npy"), "--out", data, "--workers", "0"]) == 0
    options = ["--workers", "0", "--batch", "32", "--images", "64", "--data", data]
    options += ["--generator.network.widths", "8", "--discriminator.network.widths", "8"]
    options += ["--evaluate.every", "64", "--evaluate.metrics", "sliced", "--evaluate.num", "10"]
    options += ["--output.log_every", "32", "--evaluate.features", "mnist", "--latent", "4"]
    assert main(["train", "mnist-mlp", *options, "--out", str(folder / "run")]) == 0
    event = {"time": "2026-01-01T00:00:00", "kind": "restarted", "text": "x", "images": 32}
    (folder / "run" / "events.jsonl").write_text(json.dumps(event) + "\n")
    change = {"images": 32, "state": "collapsed", "evidence": "", "back_to": 0, "change": ""}
    (folder / "run" / "interventions.jsonl").write_text(json.dumps(change) + "\n")
    return folder / "run"


def words(verb: str, run: Path) -> list[str]:
    return {
        "sample": ["sample", str(run), "--num", "4", "--out", str(run.parent / "x.png")],
        "report": ["report", str(run), "--out", str(run.parent / "x.html")],
        "evaluate": ["evaluate", str(run), "--num", "10", "--metrics", "sliced"],
        "resume": ["train", "--resume", str(run), "--images", "96", "--workers", "0"],
    }[verb]


def emptied(content: bytes, draw: random.Random) -> bytes:
    return b""


def halved(content: bytes, draw: random.Random) -> bytes:
    return content[: len(content) // 2]


def not_text(content: bytes, draw: random.Random) -> bytes:
    return b"\xff\xfe"


def brackets(content: bytes, draw: random.Random) -> bytes:
    return b"[" * 100_000


def flipped(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(1 + len(content) // 2_000):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e300, 2**63, 10**30, "", "x", "../../x", "\ud800", "a" * 5_000),
    *([], {}, [[]], {"a": 1}, float("nan"), "s3://x/y"),
)


def bent(content: bytes, draw: random.Random) -> bytes:
    """One value of a text file made another, or gone; the rest as it was."""
    text = content.decode()
    lines = [json.loads(line) for line in text.splitlines()] if text.count("}\n{") else None
    whole = lines or (json.loads(text) if text[0] in "[{" else yaml.safe_load(text))
    places = list(_places(whole))
    holder, key = draw.choice(places)
    if draw.random() < 0.2:
        del holder[key]
    else:
        holder[key] = draw.choice(ODD)
    if lines:
        return "".join(json.dumps(line) + "\n" for line in lines).encode()
    return json.dumps(whole).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


BLUNT = (emptied, halved, not_text, brackets, flipped)


def tries(rounds: int) -> Iterator[tuple[str, str, Callable[[bytes, random.Random], bytes]]]:
    """Which verb meets which file in which state."""
    for name in FILES:
        kinds = [*BLUNT, *[flipped, bent] * rounds] if _is_text(name) else [*BLUNT]
        readers = [verb for verb, parts in READERS.items() if any(p in name for p in parts)]
        for number, kind in enumerate(kinds):
            # What is refused is refused by one reader: the verbs take turns.
            yield readers[number % len(readers)], name, kind


def _is_text(name: str) -> bool:
    return name.endswith((".json", ".jsonl", ".yaml"))


@pytest.fixture
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_library", lambda: "")


def hand_over(run: Path, verb: str, name: str, kind: Any, seed: int, capsys: Capture) -> int:
    """The exit status of a verb that meets a changed file."""
    copy = run.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    if verb == "sample" and "checkpoint" in name:
        (copy / "generator.json").unlink()
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(kind(content, random.Random(seed)))
    before = sorted(path for path in run.parent.iterdir())
    status = main(words(verb, copy))
    said = capsys.readouterr().err
    case = f"{verb} of {name}, {kind.__name__} by {seed}: {said}"
    assert status in (0, 2), case
    if status == 2:
        (line,) = [line for line in said.splitlines() if line.startswith("distgan: ")]
        assert len(line) < 1_000, case
    after = {path.name for path in run.parent.iterdir()} - {path.name for path in before}
    assert after <= {"x.png", "x.html"}, case
    return status


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_every_file_in_every_state(run: Path, quick_report: None, capsys: Capture) -> None:
    refused = dict.fromkeys(FILES, 0)
    for seed, (verb, name, kind) in enumerate(tries(rounds=3)):
        refused[name] += hand_over(run, verb, name, kind, seed, capsys) == 2
    assert all(refused.values()), refused


@pytest.mark.drill
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
def test_more_of_the_same(run: Path, quick_report: None, capsys: Capture, part: int) -> None:
    for seed, (verb, name, kind) in enumerate(tries(rounds=100)):
        hand_over(run, verb, name, kind, 10_000 * (part + 1) + seed, capsys)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*FILES, "samples", "checkpoints"])
def test_folders_for_files_and_files_for_folders(
    run: Path, quick_report: None, capsys: Capture, name: str
) -> None:
    copy = run.parent / "copy"
    for verb, parts in READERS.items():
        if "." in name and not any(part in name for part in parts):
            continue
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        if (copy / name).is_dir():
            shutil.rmtree(copy / name)
            (copy / name).write_text("x")
        else:
            (copy / name).unlink()
            (copy / name).mkdir()
        status = main(words(verb, copy))
        assert status in (0, 2)
        assert len(capsys.readouterr().err.splitlines()) == status // 2


@pytest.mark.parametrize("option", ["--num", "--seed", "--label"])
def test_numbers_that_no_sample_has(run: Path, capsys: Capture, option: str) -> None:
    assert main(["sample", str(run), option, "9" * 30, "--out", str(run.parent / "y.png")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"distgan: {option} ")
    assert len(said) < 250
    assert not (run.parent / "y.png").exists()


@pytest.mark.parametrize("verb", [["train", "--workers", "0"], ["plan"]])
def test_networks_beyond_all_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, verb: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    widths = ["--generator.network.widths", ",".join(["65536"] * 20)]
    assert main([verb[0], "mnist-mlp", *verb[1:], *widths]) == 2
    assert "--generator.network: would have 81,6" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
