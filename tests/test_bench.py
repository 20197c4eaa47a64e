"""The frame of benchmarks: what it computes from turns, stops, resumes, mistakes; FLOPs."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.flops import counter, flops_per_image
from benchmarks.frame import (
    Benchmark,
    Comparison,
    InPlace,
    Unavailable,
    Values,
    command,
    everything,
    plot,
)
from benchmarks.frame.figures import rows
from benchmarks.frame.folder import Folder, Record
from benchmarks.frame.known import APART, KNOWN, load
from benchmarks.frame.noise import Usage
from benchmarks.frame.table import brief, markdown
from benchmarks.stopwatch import PARTS, WATCHED, watch
from benchmarks.training import Training
from benchmarks.turns import Process, Turn
from distgan.augment.flip import FlipSettings
from distgan.cli import bench, main
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.recipes import recipe

from .conftest import Run
from .test_cli import mistake


class Counting:
    """Sides whose turns count up, and may be cut off as by Ctrl-C."""

    def __init__(self) -> None:
        self.turns = 0
        self.stop_at = -1

    def side(self, factor: float) -> InPlace:
        def turn(_: float) -> Values:
            if self.turns == self.stop_at:
                raise KeyboardInterrupt
            self.turns += 1
            return {"images/s": factor * self.turns, "waits %": 5.0}

        return InPlace(turn)

    def benchmark(self) -> Benchmark:
        def missing() -> InPlace:
            raise Unavailable("not installed")

        def compare(_: argparse.Namespace) -> Iterator[Comparison]:
            for name in ("first", "second"):
                sides = {"one": partial(self.side, 1), "two": partial(self.side, 10)}
                yield Comparison(name, "images/s", {**sides, "three": missing}, warm=0)

        return Benchmark("toy", "nothing", compare, turns=3, seconds=0.01)


def recorded(*turns: tuple[float, float, float, float], ratios: bool = True) -> Record:
    """Rounds of two sides and of the first again, and how busy others were in the second's turn."""
    record = Record("c", "images/s", ratios, "", ["one", "two", "one again"])
    for one, two, again, busy in turns:
        values = {"one": (one, 0.0), "two": (two, busy), "one again": (again, 0.0)}
        record.rounds.append(
            {side: {"values": {"images/s": v}, "busy": b} for side, (v, b) in values.items()}
        )
    return record


def test_ratios_are_of_pairs_and_disturbed_ones_are_dropped() -> None:
    record = recorded((100, 200, 100, 0), (50, 150, 60, 0), (10, 99, 9, 0.2), (80, 320, 80, 0.05))
    one, two, again = rows(record, limit=0.05)
    assert (one.ratio, one.pairs, one.dropped) == (None, 4, 0)
    assert one.value[0] == 65
    assert two.ratio == (3.0, 2.5, 3.5)
    assert (two.pairs, two.dropped, two.all_kept) == (4, 1, False)
    assert again.ratio is not None
    assert again.ratio[0] == 1.0
    assert again.dropped == 0


def test_too_few_quiet_pairs_are_said() -> None:
    _, two, again = rows(recorded((1, 2, 1, 0.9), (1, 4, 1, 0.9), (1, 6, 1, 0)), limit=0.05)
    assert two.ratio is not None
    assert two.ratio[0] == 4
    assert (two.dropped, two.all_kept) == (2, True)
    assert not again.all_kept


def test_an_unfinished_round_counts_for_nothing() -> None:
    record = recorded((1, 2, 1, 0), (1, 2, 1, 0))
    del record.rounds[1]["one again"]
    assert [row.pairs for row in rows(record, 0.05)] == [1, 1, 1]


def test_a_run_writes_what_it_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    toy = Counting()
    assert command.run(toy.benchmark(), ["--out", str(out), "--busy", "1"], "bench toy") == 0
    said = capsys.readouterr().out
    assert "without three: not installed" in said
    assert "one again" in said
    result = json.loads((out / "results.json").read_text())
    assert result["command"] == f"bench toy --out {out} --busy 1"
    assert result["machine"]["versions"]["torch"] == torch.__version__
    assert [c["name"] for c in result["comparisons"]] == ["first", "second"]
    (first, _) = result["comparisons"]
    assert [r["one"]["values"]["images/s"] for r in first["rounds"]] == [1, 4, 7]
    assert [r["two"]["values"]["images/s"] for r in first["rounds"]] == [20, 50, 80]
    assert first["unavailable"] == {"three": "not installed"}
    figures = {row["side"]: row for row in first["figures"]}
    assert figures["two"]["ratio"]["median"] == 12.5
    assert figures["two"]["others"] == {"waits %": 5.0}
    assert "plotly" in (out / "plot.html").read_text()
    lines = list(markdown(Folder.open(out, "DIR")))
    assert "| two | 50.0 | 35.0-65.0 | 12.500 | 11.964-16.250 | 3 | 5 |" in lines
    assert any(line.startswith("`bench toy --busy 1`, ") for line in lines)


def test_shares_are_drawn_of_the_sides_that_have_them_and_nothing_else_is(tmp_path: Path) -> None:
    def turn(found: Values, _: float) -> Values:
        return {"images/s": 1.0, **found}

    divided = {"data %": 30.0, "other %": 70.0, "busy %": 60.0}

    def compare(_: argparse.Namespace) -> Iterator[Comparison]:
        values: dict[str, Values] = {"one": divided, "two": {"busy %": 20.0}}
        sides = {name: partial(InPlace, partial(turn, found)) for name, found in values.items()}
        yield Comparison("first", "images/s", sides, shares=["data %", "other %"])
        yield Comparison("second", "images/s", sides)

    toy, out = Benchmark("toy", "nothing", compare, turns=2, seconds=0.01), tmp_path / "out"
    assert command.run(toy, ["--out", str(out)], "bench toy") == 0
    figures, shares, others = plot._panels(Folder.open(out, "DIR"))
    assert (figures.height, others.height) == (3, 3)
    assert "shares" in shares.title
    drawn = {bar.name: (list(bar.y), list(bar.x)) for bar in shares.bars()}
    assert drawn == {
        "data": (["one", "one again"], [30, 30]),
        "other": (["one", "one again"], [70, 70]),
    }


@pytest.mark.slow
def test_one_that_takes_no_turns_is_run_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "tuning", "--help"]) == 0
    assert "--max-images" in capfd.readouterr().out
    assert main(["bench", "tuning", "--samples"]) == 2
    assert "--samples: expected one argument" in capfd.readouterr().err


def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, toy = tmp_path / "out", Counting()
    toy.stop_at = 13  # In the second comparison, after one round and a turn.
    assert command.run(toy.benchmark(), ["--out", str(out), "--busy", "1"], "bench toy") == 130
    assert f"go on with: bench toy --resume {out}" in capsys.readouterr().out
    assert not (out / "results.json").exists()
    with (out / "turns.jsonl").open("a") as file:
        file.write('{"comparison": "second", "rou')  # As a power cut leaves it.
    toy.stop_at = -1
    assert command.run(toy.benchmark(), ["--resume", str(out)], "bench toy") == 0
    first, second = json.loads((out / "results.json").read_text())["comparisons"]
    assert [r["one"]["values"]["images/s"] for r in first["rounds"]] == [1, 4, 7]
    # The round that was cut off is taken anew; the one before it stays.
    assert [r["one"]["values"]["images/s"] for r in second["rounds"]] == [10, 14, 17]


def test_disturbed_rounds_are_added_to_but_not_for_ever(tmp_path: Path) -> None:
    out, toy = tmp_path / "out", Counting()
    assert command.run(toy.benchmark(), ["--out", str(out), "--busy", "-1"], "bench toy") == 0
    (first, _) = json.loads((out / "results.json").read_text())["comparisons"]
    assert len(first["rounds"]) == 4
    assert first["figures"][0]["dropped"] == 4


def test_a_side_that_breaks_costs_the_others_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: float) -> Values:
        raise RuntimeError("no compiler")

    def compare(_: argparse.Namespace) -> Iterator[Comparison]:
        sides = {"one": partial(Counting().side, 1), "two": lambda: InPlace(broken)}
        yield Comparison("first", "images/s", sides)

    toy, out = Benchmark("toy", "nothing", compare, turns=2, seconds=0.01), tmp_path / "out"
    assert command.run(toy, ["--out", str(out)], "bench toy") == 1
    assert "failed: first, two" in capsys.readouterr().err
    (first,) = json.loads((out / "results.json").read_text())["comparisons"]
    assert first["unavailable"] == {"two": "failed: no compiler"}
    assert [row["side"] for row in first["figures"]] == ["one", "one again"]


def test_all_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[str, bool]] = []

    def run(name: str, folder: Path, quick: bool) -> int:
        ran.append((name, quick))
        return 130 if len(ran) == 2 else int(name == "feed")

    monkeypatch.setattr(everything, "_run", run)
    words = ["--quick", "--out", str(tmp_path / "all")]
    assert everything.run_all(words, "bench all") == 130
    assert ran == [(name, True) for name in list(KNOWN)[:2]]
    said = capsys.readouterr().out
    again = said.split("go on with: bench all ")[1].split()
    assert everything.run_all(again, "bench all") == 1
    assert ran[2:] == [(name, True) for name in KNOWN]
    assert "failed: feed" in capsys.readouterr().err


def test_all_leaves_alone_what_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "toy"
    assert command.run(Counting().benchmark(), ["--out", str(out)], "bench toy") == 0
    monkeypatch.setattr(subprocess, "Popen", None)
    assert everything._run("toy", out, quick=True) == 0


def burn(seconds: float) -> Turn:
    def turn(_: float) -> Values:
        start = time.process_time()
        while time.process_time() - start < seconds:
            pass
        return {"seconds": seconds}

    return turn


@pytest.mark.slow
def test_own_processes_are_no_disturbance_and_others_are() -> None:
    side = Process(burn, 0.5)
    before = Usage.now()
    side.turn(0)
    own = Usage.now().own_since(before)
    side.end()
    assert own > 0.4
    ended = Usage.now().own_since(before)
    assert ended >= own, "what an ended child took stays counted"
    # One that is nobody's child here, and takes one of the cores.
    busy = "import time, os\nif os.fork(): os._exit(0)\nt=time.time()\nwhile time.time()<t+1: pass"
    before = Usage.now()
    subprocess.run([sys.executable, "-c", busy], check=True)
    time.sleep(0.7)
    assert Usage.now().busy_since(before) > 0.25 / (os.cpu_count() or 1)


def test_processes_that_ended_are_counted_once_whether_waited_for_or_not() -> None:
    before = Usage(0.0, 0.0, {1: (5.0, 2.0), 2: (3.0, 0.0)})
    assert Usage(1.0, 0.0, {1: (6.0, 2.0), 2: (3.5, 0.0), 3: (0.5, 0.0)}).own_since(before) == 2
    assert Usage(1.0, 0.0, {1: (6.0, 5.5)}).own_since(before) == 1.5
    assert Usage(1.0, 0.0, {1: (6.0, 2.0)}).own_since(before) == 1


def test_flops_of_the_tutorials_pair() -> None:
    generator = [100, 128, 256, 512, 1024, 784]
    discriminator = [784, 512, 256, 128, 1]
    g, d = (sum(a * b for a, b in pairwise(w)) for w in (generator, discriminator))
    first_g, first_d = generator[0] * generator[1], discriminator[0] * discriminator[1]
    # D's update: G forward; D forward and weights' gradients on two, and the inputs' but for
    # the first layer's. G's update: both forward, inputs' gradients of D, both of G.
    products = g + 2 * (d + d + d - first_d) + (g + d) + d + (g + g - first_g)
    training = Training(override(recipe("mnist-mlp-tutorial"), {"batch": 16}))
    assert flops_per_image(training) == 2 * products


@pytest.mark.parametrize("groups", [1, 4])
def test_flops_of_grouped_convolutions(groups: int) -> None:
    for layer in (torch.nn.Conv2d, torch.nn.ConvTranspose2d):
        convolve = layer(16, 8, 3, stride=2, padding=1, groups=groups, bias=False)
        x = torch.rand(2, 16, 8, 8, requires_grad=True)
        places = 4 * 4 if layer is torch.nn.Conv2d else 8 * 8
        once = 2 * 2 * places * 16 * 8 // groups * 9
        with counter() as forward:
            made = convolve(x)
        with counter() as backward:
            made.sum().backward()
        assert (forward.get_total_flops(), backward.get_total_flops()) == (once, 2 * once)


STEPS, DELAY = 3, 0.02
CALLS = {"data": 1, "G forward": 2, "D forward": 3, "augment": 3, "EMA": 1, "logging": 1}
"""How often a step of the tutorial's pair, with R1, does a thing."""


def slowed(function: Any) -> Any:
    def slow(*arguments: Any, **named: Any) -> Any:
        time.sleep(DELAY)
        return function(*arguments, **named)

    return slow


def test_time_is_charged_to_the_part_that_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"batch": 8, "discriminator.penalty.r1": 1, "discriminator.augment.name": "flip"}
    training = Training(override(recipe("mnist-mlp-tutorial"), changes))
    state: Any = training.state
    places = {
        "data": (training.feed, "batch"),
        "G forward": (state.networks["generator"].network, "forward"),
        "D forward": (state.networks["discriminator"].network, "forward"),
        "augment": (FlipSettings, "apply"),
        "EMA": (state.averages["generator"], "update"),
        "logging": (state.statistics, "add"),
    }
    for owner, name, _ in WATCHED:
        # `watch` is made for a process of its own: put back what it replaces.
        monkeypatch.setattr(owner, name, getattr(owner, name))
    for owner, name in places.values():
        monkeypatch.setattr(owner, name, slowed(getattr(owner, name)))
    watched = watch(training)
    training.step()
    assert watched.seconds == dict.fromkeys(PARTS, 0.0), "it does not run yet"
    watched.start()
    start = time.perf_counter()
    for _ in range(STEPS):
        training.step()
    whole = time.perf_counter() - start
    parts = watched.stop()
    # Each second once, whatever lies inside of what.
    assert sum(parts.values()) == pytest.approx(whole, abs=0.01)
    assert all(parts[name] >= STEPS * CALLS[name] * DELAY for name in places)
    assert all(parts[name] > 0 for name in PARTS if name != "communication")


def test_every_benchmark_is_there_under_its_name() -> None:
    for name in KNOWN:
        if name not in ("feed", "metrics"):  # Ray's settings, and scipy.
            assert load(name).name == name


def test_the_command_line(distgan: Run) -> None:
    listed = distgan("bench", "--list").stdout
    assert all(f"  {name} " in listed for name in (*KNOWN, *APART))
    for name in APART:
        assert importlib.util.find_spec(f"benchmarks.{name}") is not None
    assert "'stpe': no such benchmark, did you mean step?" in mistake(distgan("bench", "stpe"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--turns", "0"], "--turns: 0: should be a number above 0"),
        (["--secs", "1"], "unrecognized arguments: --secs"),
        (["--out", "full"], "--out full: is not an empty folder"),
        (["--resume", "full"], "--resume full: holds no run of a benchmark"),
        (["--resume", "full", "--quick"], "goes on with the options of that run"),
    ],
)
def test_mistakes_in_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match=said):
        command.run(Counting().benchmark(), words, "bench toy")
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "file"]


def test_without_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = bench
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site" / "distgan" / "cli" / "bench.py"))
    # Another project's benchmarks in the current folder are none of distgan's.
    (tmp_path / "benchmarks" / "frame").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"install distgan from a clone"):
        module.run(argparse.Namespace(list=True, name=None, options=[]))


def test_benchmarks_of_another_project_in_the_current_folder_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("raise SystemExit(77)")
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--list"]) == 0
    assert "distgan bench all runs, in turn:" in capfd.readouterr().out


@pytest.mark.slow
def test_ctrl_c_of_a_real_benchmark(tmp_path: Path) -> None:
    words = ["bench", "metrics", "--quick", "--turns", "1000", "--out", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "distgan", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        # A shell has the tests ignore SIGINT when it runs them in its background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 120
    turns = tmp_path / "out" / "turns.jsonl"
    while not turns.exists() or '"round"' not in turns.read_text():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: distgan bench metrics --resume out" in said
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_brief_table_has_a_line_for_each_comparison(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--out", str(out), "--busy", "1"]
    assert command.run(Counting().benchmark(), words, "bench toy") == 0
    heading, _, first, second, *_ = brief(Folder.open(out, "DIR"))
    assert heading == "|  | one | two | ratio | one again | ratio |"
    assert first.startswith("| first | 4 | 50.0 | 12.500 (11.964-16.250) | 6 | ")
    assert second.startswith("| second |")


def test_a_brief_table_is_of_the_same_sides(tmp_path: Path) -> None:
    def compare(_: argparse.Namespace) -> Iterator[Comparison]:
        for name in ("first", "second"):
            yield Comparison(name, "images/s", {name: partial(Counting().side, 1)}, warm=0)

    toy, out = Benchmark("toy", "nothing", compare, turns=2, seconds=0.01), tmp_path / "out"
    assert command.run(toy, ["--out", str(out)], "bench toy") == 0
    with pytest.raises(UserError, match=r"--brief: .* different sides"):
        next(brief(Folder.open(out, "DIR")))
