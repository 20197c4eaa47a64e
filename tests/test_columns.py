"""Columns of Parquet: of every type that holds images and labels, and what of others is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.info import inform
from distgan.data.sources import open_source
from distgan.errors import UserError

from .test_left_out import labels, numbers, write
from .test_sources import ENCODED, PIXELS

Table = dict[str, Any]


def parquet(path: Path, columns: Table, **more: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **more)
    return str(path)


TAKEN: dict[str, tuple[Callable[[], Table], list[int | None], tuple[str, ...]]] = {
    "names": (
        lambda: {"image": ENCODED[:3], "label": ["dog", "cat", None]},
        [1, 0, None],
        ("cat", "dog"),
    ),
    "dictionaries": (
        lambda: {
            "image": pa.array(ENCODED[:3], pa.binary()).dictionary_encode(),
            "label": pa.array([2, 0, 2]).dictionary_encode(),
        },
        [2, 0, 2],
        ("0", "1", "2"),
    ),
    "uint64": (
        lambda: {"image": ENCODED[:3], "label": pa.array([1, 0, 2], pa.uint64())},
        [1, 0, 2],
        ("0", "1", "2"),
    ),
    "booleans": (
        lambda: {"image": ENCODED[:3], "label": [True, False, True]},
        [1, 0, 1],
        ("0", "1"),
    ),
    "views": (
        lambda: {
            "image": pa.array(ENCODED[:3], pa.binary_view()),
            "label": pa.array(["b", "a", "b"], pa.string_view()),
        },
        [1, 0, 1],
        ("a", "b"),
    ),
    "large": (
        lambda: {
            "image": pa.array(ENCODED[:3], pa.large_binary()),
            "label": pa.array(["b", "a", "b"], pa.large_string()),
        },
        [1, 0, 1],
        ("a", "b"),
    ),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_types_of_columns(tmp_path: Path, kind: str) -> None:
    columns, wanted, classes = TAKEN[kind]
    path = parquet(tmp_path / "a.parquet", columns())
    source = open_source(path, "train")
    assert (numbers(source), labels(source), source.classes) == ([0, 1, 2], wanted, classes)
    if all(part.isdecimal() for part in classes) and kind != "booleans":
        trained_on = read_resident(open_images(path))
        np.testing.assert_array_equal(trained_on.images, PIXELS[:3])
        np.testing.assert_array_equal(trained_on.labels, wanted)


PATHS = [{"bytes": None, "path": f"photos/{k}.png"} for k in range(3)]
REFUSED: dict[str, tuple[Callable[[], Table], str]] = {
    "floats": (lambda: {"image": ENCODED[:3], "label": [0.0, 1.0, 2.0]}, "'label' holds double"),
    "lists": (lambda: {"img": ENCODED[:3], "labels": [[0], [1], [2]]}, "'labels' holds list"),
    "only paths": (
        lambda: {"image": PATHS},
        "column 'image' holds only paths of images, such as photos/0.png",
    ),
    "too large": (
        lambda: {"image": ENCODED[:3], "label": pa.array([0, 1, 2**63 + 5], pa.uint64())},
        "column 'label' cannot be read as",
    ),
    "text": (
        lambda: {"image": ["photos/0.png", "photos/1.png"]},
        "of paths? give the folder of those files, or embed them",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_columns_that_are_refused(tmp_path: Path, kind: str) -> None:
    columns, said = REFUSED[kind]
    path = parquet(tmp_path / "a.parquet", columns())
    for opened in (lambda: open_source(path, "train"), lambda: open_images(path)):
        with pytest.raises(UserError) as caught:
            opened()
        assert said in str(caught.value) or "has no column" in str(caught.value)
        assert "a.parquet" in str(caught.value)


@pytest.mark.parametrize("name", ["label", "labels", "fine_label"])
def test_every_name_of_labels_is_taken_both_ways(tmp_path: Path, name: str) -> None:
    columns = {"category": [7, 8, 9], name: [2, 0, 1], "image": ENCODED[:3]}
    path = parquet(tmp_path / "a.parquet", columns)
    source = open_source(path, "train")
    assert labels(source) == [2, 0, 1]
    assert source.notes == ("left alone: columns category: int64",)
    found = open_images(path)
    assert found.classes == source.classes == ("0", "1", "2")
    trained_on = read_resident(found)
    np.testing.assert_array_equal(trained_on.labels, [2, 0, 1])
    np.testing.assert_array_equal(trained_on.images, PIXELS[:3])


def test_files_of_one_set_that_differ(tmp_path: Path) -> None:
    parquet(tmp_path / "set" / "0.parquet", {"image": ENCODED[:3], "label": [0, 1, 2]})
    others = {
        "lacks the column 'label'": {"image": ENCODED},
        "column 'label' holds string": {"image": ENCODED, "label": list("abcdef")},
        "has a column 'text'": {"image": ENCODED, "label": [0] * 6, "text": ["a"] * 6},
    }
    for said, columns in others.items():
        parquet(tmp_path / "set" / "1.parquet", columns)
        with pytest.raises(UserError, match=rf"1.parquet: .*{said}.*0.parquet|1.parquet: {said}"):
            open_source(str(tmp_path / "set"), "train")
    parquet(tmp_path / "set" / "1.parquet", {"image": ENCODED})
    with pytest.raises(UserError, match=r"1.parquet: lacks the column 'label'"):
        open_images(str(tmp_path / "set"))


def test_parquet_below_a_folder(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    parquet(repo / "plain_text" / "train-0.parquet", {"image": ENCODED})
    write(repo, "preview.png")
    source = open_source(str(repo), "train")
    assert source.count == 6
    assert source.notes[0] == "read the Parquet files in plain_text/"
    assert "left alone: 1 other files" in source.notes[1]
    with pytest.raises(UserError, match=r"holds no .parquet file, but in plain_text/"):
        open_images(str(repo))
    parquet(repo / "other" / "train-0.parquet", {"image": ENCODED})
    with pytest.raises(UserError, match=r"several folders \(other, plain_text\); give one"):
        open_source(str(repo), "train")
    parquet(repo / "train.parquet", {"image": ENCODED[:2]})
    parquet(repo / "more.parquet", {"image": ENCODED[:2]})
    source = open_source(str(repo), "train")
    assert source.count == 2
    assert [note.split(" (")[0] for note in source.notes] == [
        "left alone: 1 files that name no split, beside those of train",
        "left alone: 3 other files beside the Parquet files",
    ]


def test_missing_labels_are_counted(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"image": ENCODED[:3], "label": [0, None, -4]})
    found = inform(path)
    assert found.counts == (1,)
    assert found.lines["unlabelled"] == "2 images whose label is missing or no class"
