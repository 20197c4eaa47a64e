"""What a person sees of a run that falls ill."""

from __future__ import annotations

import io

from rich.console import Console

import distgan
from distgan.cli.terminal import Terminal
from distgan.health.diagnosis import Verdict
from distgan.health.recovery import HEALTHY_AGAIN, ILL, state_message
from distgan.launch.progress import Progress
from distgan.training.control import Status


def shown(note: str, kind: str = "") -> str:
    out = io.StringIO()
    terminal = Terminal(Console(file=out, force_terminal=True, color_system="standard", width=200))
    terminal.note(note, kind)
    return out.getvalue()


def test_an_illness_stands_out_and_brackets_are_text() -> None:
    verdict = Verdict("collapsing", "samples are [0.2] times as far apart", "raise r1")
    ill = shown(state_message(verdict, 30_000), ILL)
    assert "\x1b[33mhealth: collapsing at 30,000 images: samples are [0.2] times" in ill
    assert "\x1b[2m" in shown("starting Ray")
    well = shown(state_message(Verdict("healthy"), 40_000), HEALTHY_AGAIN)
    assert "\x1b[2mhealth: healthy again at 40,000 images" in well


def test_the_panel_names_the_state_while_it_lasts() -> None:
    progress = Progress(distgan.recipe("mnist-mlp"))
    for state, names in (("healthy", []), ("stalled", [("health", "stalled")])):
        progress.update(Status(1, {"health": state}))
        assert progress.values() == names
