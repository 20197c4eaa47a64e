"""Which images are of which split: told by names, and what was told is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from distgan.data.sources import open_source
from distgan.data.sources.splits import files_of_split
from distgan.errors import UserError

from .test_left_out import labels, numbers, write, zipped

SPLITS: dict[str, tuple[tuple[str, ...], dict[str, tuple[int, tuple[str, ...]] | str]]] = {
    "a third folder": (
        ("train/a/0.png", "train/b/0.png", "test/a/0.png", "unlabelled/0.png"),
        {"train": (2, ("a", "b")), "test": (1, ())},
    ),
    "translation": (
        ("trainA/0.png", "trainB/0.png", "testA/0.png", "testB/0.png"),
        {"train": (2, ("trainA", "trainB")), "test": (2, ("testA", "testB"))},
    ),
    "below a common folder": (
        ("photos/train/0.png", "photos/val/0.png"),
        {"train": (1, ()), "test": "has no split test; its folders are train, val"},
    ),
    "only one": (
        ("x/train/a/0.png", "x/train/b/0.png"),
        {"train": (2, ("a", "b")), "test": "has no split test, only x/train/"},
    ),
    "numbered": (
        ("train2017/0.png", "val2017/0.png"),
        {"train": (1, ())},
    ),
    "a class by that name": (
        ("train/0.png", "car/0.png"),
        {"train": "is train/ a split or a class, beside car/"},
    ),
    "classes that begin as splits do": (
        ("training-wheels/0.png", "test_tube/0.png", "car/0.png"),
        {"train": (3, ("car", "test_tube", "training-wheels")), "test": "has no split test"},
    ),
    "one class alone": (
        ("test_tube/0.png", "steam train/0.png", "Val d'Isere/0.png", "car/0.png"),
        {"train": (4, ("Val d'Isere", "car", "steam train", "test_tube"))},
    ),
    "at the end": (
        ("seg_train/a/0.png", "seg_train/b/0.png", "seg_test/a/0.png", "seg_pred/0.png"),
        {"train": (2, ("a", "b")), "test": (1, ())},
    ),
    "in the middle": (
        ("DIV2K_train_HR/0.png", "DIV2K_valid_HR/0.png"),
        {"train": (1, ()), "test": "has no split test"},
    ),
    "in camel case": (
        ("trainingSet/0.png", "testSet/0.png", "testSet/1.png"),
        {"train": (1, ()), "test": (2, ())},
    ),
    "in one word": (
        ("trainset/0.png", "testset/0.png", "testset/1.png", "other/0.png"),
        {"train": (1, ()), "test": (2, ())},
    ),
    "with words of their own": (
        ("train_clean/0.png", "test_noisy/0.png", "test_noisy/1.png"),
        {"train": (1, ()), "test": (2, ())},
    ),
    "below the classes": (
        (
            "cat/train/0.png",
            "cat/test/0.png",
            "dog/train/0.png",
            "dog/train/1.png",
            "dog/test/x.png",
        ),
        {"train": (3, ("cat", "dog")), "test": (2, ("cat", "dog"))},
    ),
    "below the classes, below a common folder": (
        ("pets/cat/Train/0.png", "pets/cat/val/0.png", "pets/dog/training/a/0.png"),
        {"train": (2, ("cat", "dog")), "test": "has no split test in cat, dog; its classes have"},
    ),
    "below some classes": (
        ("cat/train/0.png", "cat/test/0.png", "dog/0.png"),
        {"train": "cat/ has folders of splits inside it (test, train), but dog/0.png lies in none"},
    ),
    "a class without a split": (
        ("cat/train/0.png", "cat/test/0.png", "dog/train/0.png"),
        {"train": (2, ("cat", "dog")), "test": "has no split test in dog; its classes have"},
    ),
    "one split below every class": (
        ("cat/train/0.png", "dog/train/0.png"),
        {"train": (2, ("cat", "dog")), "test": "has no split test"},
    ),
    "an exact name beside a longer one": (
        ("train/a/0.png", "train/b/0.png", "train_extra/a/0.png"),
        {"train": (2, ("a", "b")), "test": "has no split test; its folders are train, train_extra"},
    ),
    "exact names beside a longer one": (
        ("train/a/0.png", "train/b/0.png", "train_extra/a/0.png", "val/a/0.png", "test/0.png"),
        {"train": (2, ("a", "b")), "test": (1, ())},
    ),
    "no splits": (
        ("training-wheels/0.png", "car/0.png"),
        {"train": (2, ("car", "training-wheels")), "test": "has no split test"},
    ),
}


@pytest.mark.parametrize("how", ["folder", "zip"])
@pytest.mark.parametrize("case", SPLITS)
def test_splits_are_told_from_classes(tmp_path: Path, case: str, how: str) -> None:
    names, wanted = SPLITS[case]
    path = write(tmp_path / "set", *names)
    if how == "zip":
        path = zipped(tmp_path / "set.zip", *names)
    for split, right in wanted.items():
        if isinstance(right, str):
            with pytest.raises(UserError) as caught:
                open_source(str(path), split)
            assert right in str(caught.value)
        else:
            source = open_source(str(path), split)
            assert (source.count, source.classes) == right
    if "exact" in case:
        notes = open_source(str(path), "train").notes
        assert notes == ("left alone: 1 images beside those of train/ (1 .png), such as "
                         "train_extra/a/0.png",)  # fmt: skip
    if case == "a third folder":
        assert any("left alone: 1 images beside" in note for note in source.notes)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("seg_train/0.png", "seg_test/0.png"),
        ("cars_train/0.png", "cars_test/0.png"),
        ("trainingSet/0.png", "testSet/0.png"),
        ("TRAINSET/0.png", "TESTSET/0.png"),
    ],
)
def test_how_folders_were_read_is_said(tmp_path: Path, train: str, test: str) -> None:
    path = write(tmp_path / "set", train, test)
    for number, (split, name) in enumerate((("train", train), ("test", test))):
        source = open_source(str(path), split)
        assert numbers(source) == [number]
        assert f"read as split {split}: the folder {name.split('/')[0]}" in source.notes


@pytest.mark.parametrize(
    ("train", "others"),
    [
        (("imagenet-train-000000.tar", "imagenet-train-000001.tar"), ("imagenet-val-000000.tar",)),
        (("cifar_train.parquet",), ("cifar_test.parquet",)),
        (("set-train-0a3f.parquet",), ("set-test-b77c.parquet", "set-validation-1.parquet")),
        (("mnistTrain.tar",), ("mnistTest.tar",)),
    ],
)
def test_splits_in_names_of_files(train: tuple[str, ...], others: tuple[str, ...]) -> None:
    chosen, notes = files_of_split([*others, *train], "train", "a")
    assert chosen == list(train)
    assert notes == (f"read as split train: the files {', '.join(train)}",)
    # By themselves they are the whole set.
    assert files_of_split(train, "train", "a") == (list(train), ())
    assert files_of_split(["0.tar", "my-train-rides.tar"], "train", "a")[0] == [
        "0.tar",
        "my-train-rides.tar",
    ]


def test_classes_that_begin_as_splits_do_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "set", "training-wheels/0.png", "car/0.png")
    assert open_source(str(path), "train").notes == ()
    write(path, "test_tube/0.png")
    assert open_source(str(path), "train").notes == (
        "read as classes, and not as splits: the folders test_tube, training-wheels",
    )


def test_lists_of_labels_by_split(tmp_path: Path) -> None:
    path = write(tmp_path / "set", "train/a.png", "train/b.png", "test/a.png")
    for split, given in (("train", [1, 2]), ("test", [3])):
        named = [[f"{name}.png", label] for name, label in zip("ab", given, strict=False)]
        (path / split / "dataset.json").write_text(json.dumps({"labels": named}))
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", path)
    for place in (path, archive):
        for split, right in (("train", [1, 2]), ("test", [3])):
            source = open_source(str(place), split)
            assert (labels(source), source.notes) == (right, ())
    # One above both is for both.
    for split in ("train", "test"):
        (path / split / "dataset.json").unlink()
    both = [["train/a.png", 4], ["train/b.png", 5], ["test/a.png", 6]]
    (path / "dataset.json").write_text(json.dumps({"labels": both}))
    assert labels(open_source(str(path), "test")) == [6]
    (path / "dataset.json").write_text(json.dumps({"labels": [*both, ["train/b.png", 0]]}))
    with pytest.raises(UserError, match=r"dataset.json: names train/b.png 2 times"):
        open_source(str(path), "train")


def test_a_list_of_labels_is_bounded(tmp_path: Path) -> None:
    path = write(tmp_path / "set", "a.png")
    (path / "dataset.json").write_text('{"labels": [' + "[]," * (1 << 16) + "[]]}")
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", path)
    for place in (path, archive):
        with pytest.raises(UserError, match=r"dataset.json: over 66,560 bytes, too many for the l"):
            open_source(str(place), "train")
