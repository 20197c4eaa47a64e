"""Checks in one process, on one GPU or a CPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import replace
from typing import Any

import torch

from benchmarks.gpu.check import (
    IMAGE,
    Place,
    Said,
    SkippedError,
    batches,
    configs,
    differing,
    distance,
    end,
    expect,
    run,
    trained,
    weights,
)
from benchmarks.training import Training
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.features.base import without_tf32
from distgan.launch.start import resume
from distgan.parallel import World
from distgan.plan.devices import GPUS
from distgan.plan.memory import memory
from distgan.plan.model import Link
from distgan.plan.planner import Place as Planned
from distgan.plan.planner import plan
from distgan.recipes import recipe
from distgan.runs.records import read
from distgan.runs.snapshot import begin_snapshot
from distgan.storage.storage import Storage

_FACTOR = 2.0
"""By which a prediction may be off."""


def versions(place: Place) -> Said:
    """What is installed, and how GPUs are connected."""
    found: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if not place.gpu:
        return Said(f"torch {torch.__version__}, a rehearsal on CPUs", found)
    found |= {
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": torch.backends.cudnn.version(),
        "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
        "names": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "driver": _told("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "connections": _told("nvidia-smi", "topo", "-m"),
    }
    return Said(f"torch {found['torch']}, CUDA {found['cuda']}, NCCL {found['nccl']}", found)


def _told(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def products_in_float32(place: Place) -> Said:
    """What sees images for the metrics multiplies in float32, not in TF32."""
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(512, 512, generator=draw) for _ in range(2))
    images = torch.randn(8, 32, 16, 16, generator=draw)
    filters = torch.randn(32, 32, 3, 3, generator=draw)
    with without_tf32():
        product = (left.to(place.device) @ right.to(place.device)).cpu().double()
        convolved = torch.nn.functional.conv2d(images.to(place.device), filters.to(place.device))
    exact = left.double() @ right.double()
    alike = torch.nn.functional.conv2d(images.double(), filters.double())
    found = {
        "products": ((product - exact).norm() / exact.norm()).item(),
        "convolutions": ((convolved.cpu().double() - alike).norm() / alike.norm()).item(),
    }
    worst = max(found.values())
    expect(worst < 1e-5, f"{worst:.1e} from float64, as TF32 would be")
    return Said(f"{worst:.1e} from float64", found)


def no_waiting(place: Place) -> Said:
    """Steps in which torch raises an error where the processor waits for the GPU."""
    for name, config in configs(place).items():
        state = trained(config, World(device=place.device), 10)
        parts = batches(config, state, 9)
        place.wait()
        if place.gpu:
            torch.cuda.set_sync_debug_mode("error")
        try:
            state.step(parts)
        except RuntimeError as error:
            expect(False, f"{name}: {str(error).splitlines()[0]}")
        finally:
            if place.gpu:
                torch.cuda.set_sync_debug_mode("default")
    return Said(f"{len(configs(place))} configurations")


def as_on_a_cpu(place: Place) -> Said:
    """Three steps in float64, beside the same on a CPU."""
    found = {}
    for name, config in configs(place).items():
        exact = override(config, {"precision": "float64"})
        here = weights(trained(exact, World(device=place.device), 3))
        found[name] = distance(here, weights(trained(exact, World(), 3)))
    name = max(found, key=lambda each: found[each])
    expect(found[name] < 1e-10, f"{name}: {found[name]:.1e} apart")
    return Said(f"at most {found[name]:.1e} apart", found)


def the_same_twice(place: Place) -> Said:
    """Two trainings under `--deterministic`, bit by bit."""
    found = {}
    for name, config in configs(place).items():
        exact = replace(config, deterministic=True)
        ends = [weights(trained(exact, World(device=place.device), 8)) for _ in range(2)]
        found[name] = differing(*ends)
    expect(not any(found.values()), f"numbers that differ: {found}")
    return Said("0 numbers differ", found)


def as_one_run(place: Place) -> Said:
    """Half of the images, then the rest after a resume, beside all of them at once."""
    found, images = {}, 256 if place.quick else 20_000
    for number, (name, config) in enumerate(configs(place).items()):
        exact = replace(config, deterministic=True, images=images)
        run(place, exact, f"whole-{number}")
        run(place, replace(exact, images=images // 2), f"half-{number}")
        resume(
            str(place.folder / f"half-{number}"),
            {"images": images},
            workers=0,
            device=place.option,
        )
        found[name] = differing(
            end(place.folder / f"whole-{number}"), end(place.folder / f"half-{number}")
        )
    expect(not any(found.values()), f"numbers that differ: {found}")
    return Said(f"0 numbers differ after {images:,} images", found)


def as_on_ray(place: Place) -> Said:
    """A run in this process, and one on a worker of Ray: finite losses, the same bits."""
    config = replace(recipe("mnist-mlp"), deterministic=True, images=2_560)
    run(place, config, "here")
    run(place, config, "worker", workers=1)
    losses = read(Storage(place.folder / "here"))[-1]
    expect(None not in losses.values(), "a loss is not finite")
    apart = differing(end(place.folder / "here"), end(place.folder / "worker"))
    expect(apart == 0, f"{apart} numbers differ")
    return Said("0 numbers differ", {"images_per_second": losses.get("images_per_second")})


def compiled(place: Place) -> Said:
    """Training with `--compile on`, beside the same without."""
    if shutil.which("c++") is None:
        raise SkippedError("there is no C++ compiler")
    if place.quick and not place.gpu:
        raise SkippedError("compiling takes minutes; leave out --quick")
    config = override(configs(place)["mlp"], {"precision": "float64"})
    plain = weights(trained(config, World(device=place.device), 20))
    try:
        made = trained(replace(config, compile="on"), World(device=place.device), 20)
        # The names of compiled modules are those of the plain ones.
        apart = distance(plain, weights(made))
    finally:
        torch.compiler.reset()
    expect(apart < 1e-6, f"{apart:.1e} apart after 20 steps")
    return Said(f"{apart:.1e} apart after 20 steps", {"distance": apart})


def copied_while_training(place: Place) -> Said:
    """A checkpoint's copy is the state when it was asked for, whatever follows at once."""
    config = configs(place)["mlp"]
    state = trained(config, World(device=place.device), 2)
    place.wait()
    before = weights(state)
    copied, arrived = begin_snapshot(
        {role: dict(net.network.state_dict()) for role, net in state.networks.items()}
    )
    for step in range(4):
        state.step(batches(config, state, step))
    arrived()
    found = {f"{role}.{name}": x for role, part in copied.items() for name, x in part.items()}
    apart = differing(before, found)
    expect(apart == 0, f"{apart} numbers are of another moment")
    pinned = all(tensor.is_pinned() for tensor in found.values()) if place.gpu else False
    expect(pinned or not place.gpu, "the copies are not in pinned memory")
    return Said("the state of its moment" + (", in pinned memory" if pinned else ""))


def traced(place: Place) -> Said:
    """`--profile` leaves a trace, with the GPU's kernels in it."""
    config = override(configs(place)["mlp"], {"images": 512, "output.profile": 3})
    run(place, config, "profiled")
    (file,) = (place.folder / "profiled" / "profile").iterdir()
    events = json.loads(file.read_text())["traceEvents"]
    kinds = {event.get("cat") for event in events}
    wanted = "kernel" if place.gpu else "cpu_op"
    expect(wanted in kinds, f"the trace has no {wanted}")
    return Said(f"{len(events):,} events", {"events": len(events)})


def predicted_memory(place: Place) -> Said:
    """What `plan` counts, beside the peak that the GPU measures."""
    place.needs_gpu()
    found = {}
    for name, config in configs(place).items():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(place.device)
        start = torch.cuda.memory_allocated(place.device)
        trained(config, World(device=place.device), 4)
        measured = torch.cuda.max_memory_allocated(place.device) - start
        counted = memory(config, DataSpec.numbered(IMAGE, 10), config.micro_batch).total
        found[name] = {"measured": measured, "counted": counted}
    off = {name: _off(each["counted"], each["measured"]) for name, each in found.items()}
    worst = max(off, key=lambda name: off[name])
    expect(off[worst] < _FACTOR, f"{worst}: {off[worst]:.2f} times off")
    return Said(f"at most {off[worst]:.2f} times off", found)


def predicted_time(place: Place) -> Said:
    """A step's seconds by `plan`, beside those that it takes."""
    place.needs_gpu()
    name = torch.cuda.get_device_name(place.device).lower()
    known = next((each for each in GPUS if each in name.replace(" ", "")), None)
    if known is None:
        raise SkippedError(f"`distgan plan` does not know the {name}")
    found = {}
    for each in ("mnist-mlp", "cifar10-dcgan", "cifar10-sngan"):
        config = recipe(each)
        training = Training(config, World(device=place.device))
        for _ in range(2 * training.cycle):
            training.step()
        place.wait()
        start = time.perf_counter()
        for _ in range(20 * training.cycle):
            training.step()
        place.wait()
        measured = (time.perf_counter() - start) / (20 * training.cycle)
        link = Link(12.5e9, 20e-6)
        said = plan(config, Planned(known, 1, 1, link)).prediction
        found[each] = {"measured": measured, "predicted": config.batch / said.images_per_second}
    off = {each: _off(pair["predicted"], pair["measured"]) for each, pair in found.items()}
    worst = max(off, key=lambda each: off[each])
    expect(off[worst] < _FACTOR, f"{worst}: {off[worst]:.2f} times off ({found[worst]})")
    return Said(f"at most {off[worst]:.2f} times off", found)


def _off(one: float, other: float) -> float:
    return max(one / other, other / one)


CHECKS = {
    "versions": versions,
    "products in float32": products_in_float32,
    "no waiting in a step": no_waiting,
    "float64 as on a CPU": as_on_a_cpu,
    "the same bits twice": the_same_twice,
    "a resume as one run": as_one_run,
    "a worker as this process": as_on_ray,
    "compiled as not": compiled,
    "a checkpoint's copy": copied_while_training,
    "a trace": traced,
    "memory as predicted": predicted_memory,
    "time as predicted": predicted_time,
}
"""By what each shows, in this order."""
