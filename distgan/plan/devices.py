"""Data-sheet figures of GPUs, and the share of them that training is expected to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distgan.config.run import RunConfig
from distgan.config.settings import nearest
from distgan.errors import UserError
from distgan.plan.model import Compute, Link, Network
from distgan.plan.work import Work

Precision = Literal["float32", "bf16", "float64"]


@dataclass(frozen=True)
class GPU:
    """Peak rates of one GPU: operations a second, without sparsity, and bytes a second.

    Args:
        float32: without tensor cores.
        tf32: of tensor cores, which float32 convolutions use; ``float32`` where there are none.
        bf16: of tensor cores; ``float32`` where they do not support bf16.
        memory: bytes a second of its own memory.
        link: bytes a second each way to the other GPUs of its node.
        size: bytes of its own memory; of the smaller kind where there are two.
        source: the data sheet.
        resnet50: published images a second of training ResNet-50 on one GPU, in (tf32 or
            float32, 16 bits); None where none is known.
    """

    about: str
    float32: float
    tf32: float
    bf16: float
    memory: float
    link: float
    size: float
    source: str
    resnet50: tuple[float, float] | None = None


GPUS = {
    "h100": GPU(
        "NVIDIA H100 SXM 80 GB",
        *(67e12, 494.7e12, 989.4e12, 3.35e12, 450e9, 80e9),
        "NVIDIA H100 Tensor Core GPU data sheet (2023)",
    ),
    "h200": GPU(
        "NVIDIA H200 SXM 141 GB",
        *(67e12, 494.7e12, 989.4e12, 4.8e12, 450e9, 141e9),
        "NVIDIA H200 Tensor Core GPU data sheet (2024)",
    ),
    "a100": GPU(
        "NVIDIA A100 SXM 80 GB",
        *(19.5e12, 156e12, 312e12, 2.039e12, 300e9, 80e9),
        "NVIDIA A100 Tensor Core GPU data sheet (2022)",
        (938, 2470),
    ),
    "v100": GPU(
        "NVIDIA V100 SXM2 16 GB",
        *(15.7e12, 15.7e12, 15.7e12, 0.9e12, 150e9, 16e9),
        "NVIDIA V100 Tensor Core GPU data sheet (2020); its tensor cores have no bf16",
        (367, 367),
    ),
    "l40s": GPU(
        "NVIDIA L40S",
        *(91.6e12, 183e12, 362e12, 0.864e12, 32e9, 48e9),
        "NVIDIA L40S data sheet (2023)",
    ),
    "l4": GPU(
        "NVIDIA L4",
        *(30.3e12, 60e12, 121e12, 0.3e12, 32e9, 24e9),
        "NVIDIA L4 data sheet (2023)",
    ),
    "a10": GPU(
        "NVIDIA A10",
        *(31.2e12, 62.5e12, 125e12, 0.6e12, 32e9, 24e9),
        "NVIDIA A10 data sheet (2021)",
    ),
    "t4": GPU(
        "NVIDIA T4",
        *(8.1e12, 8.1e12, 8.1e12, 0.32e12, 16e9, 16e9),
        "NVIDIA T4 data sheet (2019); its tensor cores have no bf16",
    ),
}
"""By the name that ``--gpu`` takes."""

_RESNET50 = 3 * 2 * 4.09e9
"""Operations of training ResNet-50 on an image of 224x224: 4.09 G multiply-adds forward (He
et al. 2016), and twice as many backward. The images a second in `GPUS` are those of NVIDIA's
DeepLearningExamples, ResNet50 v1.5 for PyTorch, one GPU."""
_PRODUCTS = 0.5
"""Share of the peak rate that matrix products reach: assumed."""
_STREAM = 0.8
"""Share of the peak bandwidth that memory and links reach: assumed."""
_LAUNCH = 10e-6
"""Seconds that torch takes to launch a kernel: assumed."""
DEVIATION = 0.01
"""Standard deviation of a step's seconds on GPUs, as a share of them. The loss of speed from 1
to 8 GPUs in StyleGAN3's table at 1024 x 1024, where nearly all of it is waiting for the slowest
GPU, corresponds to 0.7% to 1.8% (`benchmarks.published`)."""
_HOP = 2e-6
"""Latency of a message between the GPUs of a node, in seconds: assumed; the smallest all-reduce of
8 GPUs then takes 28 us."""
_ADAM, _AVERAGE = 28, 12
"""Bytes that Adam, and the moving average, read and write for each float32 weight."""


def gpu(name: str) -> GPU:
    """The GPU of that name.

    Raises:
        UserError: for a name that is not in `GPUS`, with the nearest that is.
    """
    if name not in GPUS:
        raise UserError(
            f"--gpu {name}: no such GPU{nearest(name, [*GPUS, 'cpu'])}; "
            f"have {', '.join(GPUS)}, and cpu for this machine's processor"
        )
    return GPUS[name]


def sustained(device: GPU, precision: Precision) -> float:
    """Operations a second that training of ResNet-50 reaches, for convolutional networks.

    For GPUs without published values, those of the A100 are scaled by the memory bandwidth, on
    the assumption that such a network is limited by memory between its convolutions.
    """
    half = precision == "bf16"
    if device.resnet50 is not None:
        return device.resnet50[half] * _RESNET50
    known = GPUS["a100"]
    # At most the peak of the format's units.
    peak = device.bf16 if half else device.tf32
    scaled = sustained(known, precision) * device.memory / known.memory
    return min(scaled, _STREAM * peak)


def expected(device: GPU, work: Work, config: RunConfig) -> Compute:
    """The expected time of a cycle on one GPU, from data sheets; nothing is measured."""
    convolutions, products = _speeds(device, config.precision)
    exact = _speeds(device, "float32" if config.precision == "bf16" else config.precision)
    half = _speeds(device, "bf16")
    generator = work.updates[-1].parameters
    moved = _ADAM * work.updated + _AVERAGE * generator
    after = moved / (_STREAM * device.memory)
    per_image = fixed = 0.0
    for update in work.updates:
        for flops, in_exact, in_half, speeds in (
            (
                *(update.convolutions, update.exact_convolutions, update.half_convolutions),
                (convolutions, exact[0], half[0]),
            ),
            (
                *(update.products, update.exact_products, update.half_products),
                (products, exact[1], half[1]),
            ),
        ):
            parts = (flops - in_exact - in_half, in_exact, in_half)
            for part, speed in zip(parts, speeds, strict=True):
                fixed += part.fixed / speed
                per_image += part.per_image / speed
    return Compute(fixed + after, per_image, _LAUNCH * work.kernels, after, DEVIATION)


def _speeds(device: GPU, precision: Precision) -> tuple[float, float]:
    # Operations a second in convolutions and in matrix products.
    if precision == "float64":
        # A rough estimate: data sheets give half of float32's rate at best, often far less.
        return device.float32 / 4, device.float32 / 4
    peak = device.bf16 if precision == "bf16" else device.float32
    return sustained(device, precision), _PRODUCTS * peak


def network(device: GPU, across: Link) -> Network:
    """The network of nodes with such GPUs, as NCCL uses it."""
    return Network(Link(_STREAM * device.link, _HOP), across, tree=True)
