"""After a run this process is as before: variables, loggers, signal handlers."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import distgan
from distgan.errors import UserError
from distgan.launch.surroundings import restored

_TINY = {
    "images": 640,
    "generator.network.widths": "16",
    "discriminator.network.widths": "16",
}


def _facts() -> dict[str, Any]:
    loggers = {"": logging.root, **logging.root.manager.loggerDict}
    levels = {
        name: (one.level, list(one.handlers), one.disabled)
        for name, one in loggers.items()
        if isinstance(one, logging.Logger)
    }
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {
        "environment": dict(os.environ),
        "levels": levels,
        "complains": logging.raiseExceptions,
        "handlers": handlers,
    }


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("distgan.test.restored")
    made.setLevel(logging.WARNING)
    yield made
    made.setLevel(logging.NOTSET)


def test_what_changed_is_undone(monkeypatch: pytest.MonkeyPatch, logger: logging.Logger) -> None:
    monkeypatch.setenv("CHANGED", "before")
    monkeypatch.setenv("REMOVED", "before")
    before = _facts()
    extra = logging.NullHandler()

    def change() -> None:
        os.environ["CHANGED"] = "after"
        os.environ["ADDED"] = "1"
        del os.environ["REMOVED"]
        logger.setLevel(logging.CRITICAL)
        logging.root.addHandler(extra)
        logging.raiseExceptions = False
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    with restored():
        change()
    assert _facts() == before
    with restored(unless=lambda: True):
        change()
    assert os.environ["CHANGED"] == "after"
    with restored():
        pass
    assert os.environ["CHANGED"] == "after", "what was there is left alone"
    del os.environ["ADDED"]
    logging.root.removeHandler(extra)
    logging.raiseExceptions = True
    signal.signal(signal.SIGTERM, before["handlers"][signal.SIGTERM])


def test_a_failed_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distgan.launch.ray import cluster

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def fail(**_: Any) -> None:
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        raise RuntimeError("no room")

    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", fail)
    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), _TINY)
    before = _facts()
    with pytest.raises(UserError, match=r"Ray does not start here \(no room\)"):
        distgan.train(config, out=str(tmp_path / "run"), workers=1)
    after = _facts()
    # Modules that were imported meanwhile have loggers that were not there.
    after["levels"] = {name: after["levels"][name] for name in before["levels"]}
    assert after == before


_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import distgan, logging, torch
if sys.argv[3] == "ray":
    import ray
from tests.test_restored import _TINY, _facts

def main():
    before, threads = _facts(), torch.get_num_threads()
    for workers in (1, 0):
        config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), _TINY)
        distgan.train(config, out=f"{sys.argv[2]}/{workers}", workers=workers)
        after = _facts()
        levels = after["levels"]
        assert logging.getLogger("ray").level == logging.INFO, logging.getLogger("ray")
        loud = {n: l for n, l in levels.items() if n.startswith("ray.") and l[0] > logging.INFO}
        assert all(n in before["levels"] for n in loud), loud
        after["levels"] = {name: levels[name] for name in before["levels"]}
        for name in before:
            assert after[name] == before[name], (name, after[name], before[name])
        assert torch.get_num_threads() == threads
    print("as before")

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("imported", [pytest.param("ray", marks=pytest.mark.drill), "nothing"])
def test_a_run(tmp_path: Path, imported: str) -> None:
    """In a process of its own, whose first Ray this is."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    environment = {n: v for n, v in os.environ.items() if not n.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, str(script), str(Path(__file__).parents[1]), str(tmp_path), imported],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "as before"
