"""The checks of GPUs, rehearsed on CPUs: the command, its lines and its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_check
from benchmarks.gpu.check import FailedError, Place, Said, SkippedError, expect
from distgan.errors import UserError

GPUS_ONLY = {"memory as predicted", "time as predicted", "a wrong interface", "out of memory"}


def test_without_a_gpu_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError) as caught:
        gpu_check.main([])
    assert str(caught.value) == (
        "gpu_check: there is no GPU here that torch can use; --cpu rehearses the checks on CPUs"
    )
    with pytest.raises(UserError, match="no such check, did you mean versions"):
        gpu_check.main(["--cpu", "--only", "version"])


def test_every_end_of_a_check_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Place) -> Said:
        expect(1 + 1 == 3, "2 is not 3")
        return Said("never")

    def skipped(place: Place) -> Said:
        place.needs_gpu()
        return Said("never")

    def breaks(_: Place) -> Said:
        raise ZeroDivisionError("by\nzero")

    checks = {"a": lambda _: Said("as it is", {"n": 2}), "b": fails, "c": skipped, "d": breaks}
    monkeypatch.setattr(gpu_check, "CHECKS", checks)
    assert gpu_check.main(["--cpu", "--out", str(tmp_path)]) == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == [
        "PASS a as it is (0 s)",
        "FAIL b 2 is not 3 (0 s)",
        "SKIP c only GPUs have this (0 s)",
        "FAIL d ZeroDivisionError: by (0 s)",
        "1 PASS, 2 FAIL, 1 SKIP",
    ]
    (file,) = tmp_path.iterdir()
    assert lines[5] == str(file)
    record = json.loads(file.read_text())
    assert record["rehearsed_on_cpus"]
    assert record["machine"]["versions"]["torch"] == torch.__version__
    assert [each["result"] for each in record["checks"]] == ["PASS", "FAIL", "SKIP", "FAIL"]
    assert record["checks"][0]["figures"] == {"n": 2}


def test_what_needs_a_gpu_says_so() -> None:
    place = Place(torch.device("cpu"), 2, True, Path())
    for name in GPUS_ONLY:
        with pytest.raises(SkippedError):
            gpu_check.CHECKS[name](place)


def test_a_check_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu import single

    place = Place(torch.device("cpu"), 2, True, tmp_path)
    assert "from float64" in single.products_in_float32(place).line
    exact = torch.Tensor.__matmul__

    def rounded(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = exact(left.bfloat16(), right.bfloat16()).to(left.dtype)
        return found if left.dtype == torch.float32 else exact(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    with pytest.raises(FailedError, match="from float64, as TF32 would be"):
        single.products_in_float32(place)


@pytest.mark.drill
@pytest.mark.ray
def test_all_of_it_on_cpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--cpu", "--quick", "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.iterdir()
    made = {each["check"]: each["result"] for each in json.loads(file.read_text())["checks"]}
    left_out = GPUS_ONLY | {"compiled as not"}
    assert made == {name: "SKIP" if name in left_out else "PASS" for name in gpu_check.CHECKS}
