"""Checks with several processes, each with a GPU of its own, or on CPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from benchmarks.gpu.check import Place, Said, configs, distance, expect, trained, weights
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.parallel import World
from distgan.runs import events
from distgan.runs.records import read
from distgan.storage.storage import Storage

_LOST = "worker"
_PATIENCE = 300.0
_SENTENCE = 2_000
"""Characters that a user may be told; a traceback has more."""


def as_one_process(place: Place) -> Said:
    """Three steps in float64 on several ranks, beside one process with the whole batch."""
    found = {}
    for number, (name, config) in enumerate(configs(place).items()):
        exact = override(config, {"precision": "float64"})
        one = weights(trained(exact, World(device=place.device), 3))
        found[name] = max(
            distance(one, each) for each in on_ranks(place, f"exact-{number}", exact, 3)
        )
    name = max(found, key=lambda each: found[each])
    expect(found[name] < 1e-10, f"{name}: {found[name]:.1e} apart on {place.ranks} ranks")
    return Said(f"at most {found[name]:.1e} apart on {place.ranks} ranks", found)


def replicas_agree(place: Place) -> Said:
    """After many steps in float32, every rank has the same weights to the bit."""
    steps = 20 if place.quick else 1_000
    config = configs(place)["sngan"]
    first, *others = on_ranks(place, "replicas", config, steps)
    apart = max(distance(first, other) for other in others)
    expect(apart == 0, f"replicas are {apart:.1e} apart after {steps} steps")
    return Said(f"equal after {steps} steps on {place.ranks} ranks")


def on_ranks(place: Place, name: str, config: RunConfig, steps: int) -> list[dict[str, Tensor]]:
    """All weights on each rank after so many steps, in processes of their own."""
    folder = place.folder / name
    folder.mkdir()
    if not place.gpu:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(_rank, (place, str(folder), config, steps), nprocs=place.ranks, join=True)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(place.ranks)]


def _rank(rank: int, place: Place, folder: str, config: RunConfig, steps: int) -> None:
    device = torch.device("cuda", rank) if place.gpu else torch.device("cpu")
    if place.gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    dist.init_process_group(
        "nccl" if place.gpu else "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=place.ranks,
    )
    found = weights(trained(config, World(rank, place.ranks, device), steps))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def a_killed_worker(place: Place) -> Said:
    """A run goes on after SIGKILL of a worker, from its last checkpoint, to its end."""
    out = place.folder / "killed"
    # Long enough to be killed, wherever it runs.
    images = 300_000 if place.gpu else 60_000
    more = ["--images", str(images), "--output.checkpoint_every", "5k", "--output.log_every", "1k"]
    with _command(place, out, more) as process:
        _until(lambda: _seen(out) > 5_000, process)
        os.kill(_workers(process.pid)[-1], signal.SIGKILL)
        killed = time.monotonic()
        text = process.communicate(timeout=_PATIENCE)[0]
    expect(process.returncode == 0, f"ended with {process.returncode}: {text[-300:]}")
    noted = [event for event in events.read(Storage(out)) if _LOST in str(event.get("kind"))]
    expect(bool(noted), "events.jsonl tells of no lost worker")
    seconds = time.monotonic() - killed
    return Said(f"complete {seconds:.0f} s after the kill", {"seconds": seconds})


def a_wrong_interface(place: Place) -> Said:
    """A network interface that is not there ends a run with a sentence, within a minute."""
    place.needs_gpu()
    start = time.monotonic()
    wrong = {"NCCL_SOCKET_IFNAME": "=nonsense", "GLOO_SOCKET_IFNAME": "nonsense"}
    with _command(place, place.folder / "interface", ["--images", "50k"], wrong) as process:
        text = process.communicate(timeout=_PATIENCE)[0]
    seconds = time.monotonic() - start
    expect(process.returncode != 0, "the run trained all the same")
    expect("Traceback" not in text and len(text) < _SENTENCE, f"no sentence: {text[-300:]}")
    expect(seconds < 60, f"it took {seconds:.0f} s")
    return Said(f"a sentence after {seconds:.0f} s", {"said": text.strip().splitlines()[-1:]})


def out_of_memory(place: Place) -> Said:
    """A batch that no GPU holds ends a run with a sentence."""
    place.needs_gpu()
    more = ["--batch", "1048576", "--generator.network.width", "512", "--images", "2M"]
    with _command(place, place.folder / "memory", more, recipe="mnist-dcgan") as process:
        text = process.communicate(timeout=_PATIENCE)[0]
    expect(process.returncode != 0, "the run trained all the same")
    expect("Traceback" not in text and "memory" in text, f"no sentence: {text[-300:]}")
    return Said("a sentence", {"said": text.strip().splitlines()[-1:]})


def _command(
    place: Place,
    out: Path,
    more: list[str],
    environment: dict[str, str] | None = None,
    recipe: str = "mnist-mlp",
) -> subprocess.Popen[str]:
    words = ["train", recipe, "--out", str(out), "--workers", str(place.ranks), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "distgan", *words, "--device", place.option],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def _until(done: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done():
        expect(process.poll() is None, "the run ended before it was to be disturbed")
        if time.monotonic() > deadline:
            process.kill()
            expect(False, f"nothing happened for {_PATIENCE:.0f} s")
        time.sleep(0.2)


def _seen(out: Path) -> int:
    found = read(Storage(out)) if out.exists() else []
    return int(found[-1]["images"]) if found else 0


def _workers(driver: int) -> list[int]:
    return [
        each.pid
        for each in psutil.Process(driver).children(recursive=True)
        if "RayTrainWorker" in " ".join(each.cmdline())
    ]


CHECKS = {
    "ranks as one process": as_one_process,
    "replicas agree": replicas_agree,
    "a killed worker": a_killed_worker,
    "a wrong interface": a_wrong_interface,
    "out of memory": out_of_memory,
}
"""By what each shows, in this order."""
