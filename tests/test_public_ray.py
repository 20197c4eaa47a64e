"""Ray by its documented interface only: when, with what result, and that nothing else slips in."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.train import WorkerGroupError

import distgan
from distgan.errors import UserError
from distgan.launch.ray import fit, private
from distgan.launch.ray.messages import ActorMailbox, FolderMailbox
from distgan.launch.ray.workers import Workers

_PACKAGE = Path(distgan.__file__).parent
_SCRIPT = """
import sys
import distgan

def main():
    config = distgan.override(
        distgan.recipe("mnist-mlp-tutorial"),
        {"images": 2_560, "generator.network.widths": "16", "discriminator.network.widths": "16"},
    )
    result = distgan.train(config, out=sys.argv[1], workers=int(sys.argv[2]))
    assert result.images_seen == 2_560
    private = sorted(name for name in sys.modules if name.startswith("distgan.launch.ray.private."))
    print(len(private))

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    ("release", "inside"),
    [
        ("2.59.1", False),
        ("2.60.0", True),
        ("2.60.3", True),
        ("2.60.0rc1", True),
        ("2.61.0", False),
        ("3.0.0.dev0", False),
        ("master", False),
    ],
)
def test_releases_in_the_window(
    monkeypatch: pytest.MonkeyPatch, release: str, inside: bool
) -> None:
    monkeypatch.delenv(private.VARIABLE, raising=False)
    assert private.usable(release) == inside
    monkeypatch.setenv(private.VARIABLE, "1")
    assert not private.usable(release)


def test_nothing_undocumented_is_imported_elsewhere() -> None:
    """Neither modules below an underscore nor names that begin with one."""
    found = []
    for path in _PACKAGE.rglob("*.py"):
        if "private" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute):
                names = [ast.unparse(node)]
            for name in names:
                words = name.split(".")
                hidden = any(word.startswith(("_", "internal_kv")) for word in words[1:])
                if words[0] == "ray" and hidden and "__" not in name:
                    found.append(f"{path.relative_to(_PACKAGE)}: {name}")
    assert found == []


def _digest(folder: Path, name: str, workers: int, public: bool) -> tuple[str, int]:
    """Of the weights, and how many modules of the private package were imported."""
    script = folder / "script.py"
    script.write_text(_SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), name, str(workers)],
        cwd=folder,
        env={**os.environ, private.VARIABLE: str(int(public))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    weights = (folder / name / "generator.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest(), int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.drill)])
def test_the_weights_are_the_same(tmp_path: Path, workers: int) -> None:
    expected, many = _digest(tmp_path, "private", workers, public=False)
    found, none = _digest(tmp_path, "public", workers, public=True)
    assert found == expected
    assert many > 0
    assert none == 0


@pytest.mark.ray
def test_an_actor_carries_messages(cluster: str) -> None:
    one, other = ActorMailbox("of a test"), ActorMailbox("of a test")
    one.put("news", {"images": 3, "notes": [["a", ""]]})
    assert other.get("news") == {"images": 3, "notes": [["a", ""]]}
    assert other.get("nothing") is None
    assert ActorMailbox("of another").get("news") is None
    other.remove("news")
    other.remove("news")
    assert one.get("news") is None
    one.put("stop", "SIGTERM")
    one.clear()
    assert other.get("stop") is None


def _fit(folder: Path, monkeypatch: pytest.MonkeyPatch, ends: list[Any]) -> tuple[Any, Any]:
    """A `Fit` whose trainer ends so each time, at the third time in a row for good."""

    class Trainer:
        def __init__(self, work: Any, **parts: Any) -> None:
            assert parts["run_config"].failure_config.max_failures == 0

        def fit(self) -> Any:
            end = ends.pop(0)
            if isinstance(end, Exception):
                raise end
            return SimpleNamespace(return_value=end)

    monkeypatch.setattr(fit, "TorchTrainer", Trainer)
    channel = FolderMailbox(str(folder / "channel"))
    job: Any = SimpleNamespace(out=str(folder / "run"), channel=channel, verbose=False)
    cluster: Any = SimpleNamespace(shared="", scratch=str(folder), own=False)
    made = fit.Fit(lambda _: {}, job, Workers(1, False, 1), cluster, 2)
    made.run()
    return made, channel


DIED = WorkerGroupError("", {0: RayActorError(None, "its process has died")})


def test_the_driver_starts_workers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = {"images_seen": 64, "stopped": ""}
    made, channel = _fit(tmp_path, monkeypatch, [DIED, DIED, outcome])
    assert made.outcome().images_seen == 64
    assert [kind for _, kind in channel.get("told")] == ["worker lost"] * 2
    assert "starting again (2 of 2 without a checkpoint)" in channel.get("told")[1][0]


def test_the_driver_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = _fit(tmp_path, monkeypatch, [DIED] * 3)
    with pytest.raises(UserError, match=r"worker 0 lost .*, 3 times without a new checkpoint"):
        made.outcome()


def test_a_workers_mistake_ends_the_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake = WorkerGroupError("", {0: UserError("training diverged"), 1: RuntimeError("x")})
    made, channel = _fit(tmp_path, monkeypatch, [mistake])
    with pytest.raises(UserError, match="training diverged"):
        made.outcome()
    assert channel.get("told") is None
