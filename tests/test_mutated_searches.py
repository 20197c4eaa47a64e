"""Searches whose files were changed: the report and the resumption say so, or go on."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from distgan.cli import main
from distgan.errors import UserError
from distgan.report import write
from distgan.storage.storage import Storage
from distgan.tune import record, search

from .test_mutated_runs import BLUNT, bent, flipped
from .test_report_search import some, write_search

FILES = ("search.yaml", "trials/0001.json")
TRIALS = [some(number, 10.0 ** (number - 5), 10.0 + number) for number in range(4)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of four trials."""
    return write_search(tmp_path_factory.mktemp("search") / "s", TRIALS)


def hand_over(folder: Path, name: str, kind: Any, seed: int) -> list[int]:
    copy = folder.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(kind(content, random.Random(seed)))
    out = str(folder.parent / "x.html")
    report = main(["report", str(copy), "--out", out])
    return [report, main(["tune", "--resume", str(copy)])]


@pytest.mark.parametrize("name", FILES)
def test_changed_files(
    found: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setattr(write, "_library", lambda: "")

    def stop(*_: Any) -> None:
        raise UserError("as far as no cluster is needed")

    monkeypatch.setattr(search, "_run", stop)
    for seed, kind in enumerate((*BLUNT, *(flipped, bent) * 12)):
        statuses = hand_over(found, name, kind, seed)
        said = capsys.readouterr().err
        assert set(statuses) <= {0, 2}, f"{kind.__name__} by {seed}: {said}"
        assert len(said.splitlines()) == statuses.count(2), said
        assert max(map(len, said.splitlines()), default=0) < 1_000


def test_a_file_that_is_no_trials_is_named(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "s", TRIALS)
    for name in ("x.json", "1.json", "00001.json", "-1.json", "²³⁴⁵.json"):
        other = folder / "trials" / name
        shutil.copy(folder / "trials" / "0001.json", other)
        with pytest.raises(UserError, match="is no trial's file"):
            record.load_all(Storage(folder))
        other.unlink()
    shutil.copy(folder / "trials" / "0001.json", folder / "trials" / "0009.json")
    with pytest.raises(UserError, match=r"0009\.json: is of trial 1"):
        record.load_all(Storage(folder))


def test_a_trial_of_another_space_is_named(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "s", TRIALS)
    (trial,) = [t for t in record.load_all(Storage(folder)) if t.number == 1]
    trial.point = dict.fromkeys(trial.point, "x")
    trial.save(Storage(folder))
    assert main(["report", str(folder)]) == 2
