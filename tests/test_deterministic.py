"""`--deterministic`: operations that repeat to the bit on GPUs, and the process put back."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import distgan
from distgan.augment import ada
from distgan.augment.sampling import bicubic
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.networks.attention import SelfAttention
from distgan.networks.resample import double
from distgan.recipes import recipe
from distgan.storage.storage import Storage
from distgan.training.arithmetic import arithmetic

from .augmenting import drawn, images

CPU = torch.device("cpu")


def settings() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        cudnn.deterministic,
        cudnn.benchmark,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


def exactly(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    with arithmetic(True, CPU):
        return function(*inputs)


@pytest.mark.parametrize("given", [None, ":16:8"])
def test_what_is_set_is_put_back(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if given is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
    before = settings()
    with contextlib.suppress(ZeroDivisionError), arithmetic(True, torch.device("cuda")):
        assert settings() == (True, False, False, True, False, given or ":4096:8")
        raise ZeroDivisionError
    assert settings() == before
    with arithmetic(False, torch.device("cuda")):
        assert settings() == (*before[:4], True, given)
    assert settings() == before
    with arithmetic(False, CPU):
        assert settings() == before


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "histc_cuda does not have a deterministic implementation, but you set ...",
            "--deterministic true: histc_cuda adds up in an order that varies on this device; "
            "leave the setting out, or what uses that operation",
        ),
        (
            "Deterministic behavior was enabled with ..., but this operation is not "
            "deterministic because it uses CuBLAS and you have CUDA >= 10.2.",
            "--deterministic true: this process has multiplied matrices on the GPU before, "
            "without CUBLAS_WORKSPACE_CONFIG=:4096:8; set that variable before it starts, or "
            "use --workers 1",
        ),
    ],
)
def test_what_has_no_deterministic_way_is_one_sentence(said: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught, arithmetic(True, CPU):
        raise RuntimeError(said)
    assert str(caught.value) == sentence
    with pytest.raises(RuntimeError), arithmetic(False, CPU):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="shapes"), arithmetic(True, CPU):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("beyond", ["edge", "zeros"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 4), (5, 2)], ids=str)
def test_doubling_is_torchs(beyond: Any, shape: tuple[int, int]) -> None:
    maps = images(2, 3, *shape)
    torch.testing.assert_close(exactly(double, maps, beyond), double(maps, beyond))
    single = maps.float().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(exactly(double, single, beyond), double(maps, beyond).float())


@pytest.mark.parametrize("beyond", ["edge", "zeros"])
def test_doubling_has_two_derivatives(beyond: Any) -> None:
    maps = images(1, 2, 3, 2).requires_grad_()
    with arithmetic(True, CPU):
        assert torch.autograd.gradgradcheck(lambda x: double(x, beyond).square(), maps)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 9), (2, 5, 2)], ids=str)
def test_places_are_read_as_torch_reads_them(shape: tuple[int, int, int]) -> None:
    x, turn = images(4, *shape), torch.Generator().manual_seed(1)
    grid = 3 * torch.rand(4, 7, 5, 2, generator=turn, dtype=torch.float64) - 1.5
    torch.testing.assert_close(exactly(bicubic, x, grid), bicubic(x, grid))
    x.requires_grad_()
    slopes = [
        torch.autograd.grad(way(x, grid).square().sum(), x)[0]
        for way in (bicubic, lambda *given: exactly(bicubic, *given))
    ]
    torch.testing.assert_close(slopes[0], slopes[1])


def test_the_geometric_group_is_the_same() -> None:
    augment, x = ada.ADASettings(), images(16, 3, 8, 8)
    one = torch.ones((), dtype=torch.float64)
    given = (x, drawn(augment.numbers, 16), one)
    torch.testing.assert_close(exactly(augment.apply, *given), augment.apply(*given))


@pytest.mark.parametrize("size", [(4, 6), (5, 7)], ids=str)
def test_attention_pools_as_torch_does(size: tuple[int, int]) -> None:
    layer = SelfAttention(8, normalise=False).double()
    torch.nn.init.ones_(layer.gamma)
    maps = images(2, 8, *size).requires_grad_()
    found, same = exactly(layer, maps), layer(maps)
    torch.testing.assert_close(found, same)
    slopes = [torch.autograd.grad(each.square().sum(), maps)[0] for each in (found, same)]
    torch.testing.assert_close(slopes[0], slopes[1])
    assert not torch.allclose(same, maps)


@contextlib.contextmanager
def _unused() -> Iterator[None]:
    before = settings()
    yield
    assert settings() == before


def test_a_run_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    small = {"images": 32, "batch": 16, "deterministic": True}
    small |= {f"{side}.network.widths": "8" for side in ("generator", "discriminator")}
    with _unused():
        distgan.train(
            override(recipe("mnist-mlp-tutorial"), small), out=str(tmp_path / "run"), workers=0
        )
    told = json.loads(Storage(str(tmp_path / "run")).read("environment.json"))["starts"][0]
    assert told["arithmetic"] == {"deterministic": True}
