"""The model of `distgan plan` beside what others published of training on many accelerators.

python -m benchmarks.published
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from distgan.plan import Compute, Link, Network, Work, predict
from distgan.plan.devices import DEVIATION, GPUS
from distgan.plan.work import Flops, Message, Update

_BATCH = 32
GPU_COUNTS = (1, 2, 4, 8)

STYLEGAN3 = {
    ("T", "v100"): {
        128: ((73.68, 37.30, 20.66, 11.31), (16, 16, 8, 4)),
        256: ((89.15, 45.45, 23.94, 13.04), (16, 16, 8, 4)),
        512: ((137.33, 69.65, 34.88, 18.47), (8, 8, 8, 4)),
        1024: ((221.85, 113.44, 57.04, 28.71), (4, 4, 4, 4)),
    },
    ("T", "a100"): {
        128: ((27.20, 13.74, 7.52, 4.40), (16, 16, 8, 4)),
        256: ((49.81, 25.05, 13.26, 7.32), (16, 16, 8, 4)),
        512: ((90.25, 45.42, 22.81, 12.29), (8, 8, 8, 4)),
        1024: ((156.91, 79.16, 39.62, 20.01), (4, 4, 4, 4)),
    },
    ("R", "v100"): {
        128: ((58.44, 29.92, 15.49, 8.43), (16, 16, 8, 4)),
        256: ((87.37, 44.12, 22.42, 11.88), (8, 8, 8, 4)),
        512: ((158.91, 79.96, 40.86, 20.44), (4, 4, 4, 4)),
        1024: ((263.44, 134.22, 67.33, 34.12), (4, 4, 4, 4)),
    },
    ("R", "a100"): {
        128: ((34.23, 17.29, 9.53, 5.69), (16, 16, 8, 4)),
        256: ((56.73, 28.60, 14.39, 8.03), (8, 8, 8, 4)),
        512: ((110.13, 55.18, 27.99, 14.04), (4, 4, 4, 4)),
        1024: ((184.81, 92.58, 46.53, 23.42), (4, 4, 4, 4)),
    },
}
"""Seconds for 1000 images and images of a micro-batch on 1, 2, 4 and 8 GPUs, by resolution, of
configurations T and R, batch 32: NVlabs/stylegan3, ``docs/configs.md``, recommended
configurations (Karras et al., "Alias-Free Generative Adversarial Networks", 2021)."""

_GIVEN = ((128, 2), (128, 4), (1024, 8))
"""Resolution and GPUs of rows that are not predicted."""
_STYLEGAN3_PARAMETERS = 25_000_000
"""Of either network, about: assumed."""
_MESSAGE = 5e-6
"""Seconds of a message between accelerators of a machine: assumed."""


def _work(discriminator: int, generator: int, updates: int, bits: int = 32) -> Work:
    # Gradients travel when all are there; both networks' updates take equally long.
    def update(name: str, parameters: int) -> Update:
        message = Message(1.0, parameters * bits // 8, "gradients")
        return Update(name, Flops(0, 1), Flops(0, 0), 0, parameters, (message,))  # type: ignore[arg-type]

    return Work(
        (update("discriminator", discriminator),) * updates + (update("generator", generator),)
    )


@dataclass(frozen=True)
class Checked:
    """A published figure beside the model's; ``ideal`` is one worker's times their number."""

    what: str
    published: float
    predicted: float
    ideal: float

    @property
    def error(self) -> float:
        """Relative."""
        return self.predicted / self.published - 1


def check_stylegan3() -> list[Checked]:
    """Seconds of a step on 2, 4 and 8 GPUs.

    What the model is given: of each configuration and GPU, the cost of a micro-batch whatever
    its size, from the rows of 2 and 4 GPUs at 128 x 128; at each resolution the row of 1 GPU;
    NVLink's bandwidth; how much a step varies, from the rows of 8 GPUs at 1024 x 1024. The
    other rows are predicted.
    """
    found = []
    for (config, gpu), resolutions in STYLEGAN3.items():
        two, four = (resolutions[128][0][i] * _BATCH / 1000 for i in (1, 2))
        fixed = two - (two - four) / (16 - 8) * 16
        link = Link(GPUS[gpu].link, _MESSAGE)
        for resolution, (speeds, parts) in resolutions.items():
            steps = [speed * _BATCH / 1000 for speed in speeds]
            per_image = (steps[0] * parts[0] / _BATCH - fixed) / parts[0]
            for index, count in enumerate(GPU_COUNTS):
                if count == 1 or (resolution, count) in _GIVEN:
                    continue
                passes = _BATCH // (count * parts[index])
                compute = Compute(passes * fixed, per_image, deviation=DEVIATION)
                work = _work(_STYLEGAN3_PARAMETERS, _STYLEGAN3_PARAMETERS, 1)
                predicted = predict(work, compute, Network(link, link), _BATCH, count)
                what = f"StyleGAN3-{config} {resolution} px, {count} {gpu}"
                seconds = predicted.seconds
                found.append(Checked(what, steps[index], seconds, steps[0] / count))
    return found


PARAGAN = 0.91
"""Efficiency of 1,024 accelerators (Shi, Li and You, "ParaGAN: A Scalable Distributed Training
Framework for Generative Adversarial Networks", 2024, arXiv 2411.03999)."""
_BIGGAN = (87_982_370, 70_433_988)
"""Parameters of BigGAN's D and G at 128 x 128 (Brock et al. 2019, as counted in Google's
compare_gan)."""
_PARAGAN_STEP = 14 * 3600 / 150_000
"""Seconds: 14 hours were published; that they are BigGAN's 150,000 steps is assumed."""
_TPU_V3 = 340e12 / 1024 / 2
"""Bytes a second of an all-reduce, for each core: the pod's 340 TB/s (Google's documentation of
TPU v3) over its 1,024 chips of two cores."""


def check_paragan(deviation: float) -> Checked:
    """Efficiency at 1,024 cores with 2 images each, of BigGAN with two updates of D a step.

    What was assumed: 150,000 steps, float32 gradients that travel after the backward pass on
    a two-dimensional torus of 32 by 32, microseconds a message, and how much a core's time
    varies, which decides the result and which nobody published.
    """
    workers, share = 1024, 2
    # No more than the published step took with all others, which it cannot have taken by far.
    alone = _PARAGAN_STEP
    compute = Compute(0.0, alone / share, deviation=deviation)
    link = Link(_TPU_V3, 1e-6)
    network = Network(link, link)
    expected = predict(
        _work(*_BIGGAN, updates=2), compute, network, workers * share, workers, nodes=32
    )
    return Checked("ParaGAN", PARAGAN, alone / expected.seconds, 1.0)


def main() -> None:
    """Print both."""
    print("                              published s   predicted     error   ideal scaling's")
    checks = check_stylegan3()
    for row in checks:
        ideal = row.ideal / row.published - 1
        print(
            f"{row.what:<30}{row.published:11.3f}{row.predicted:12.3f}{row.error:+10.1%}"
            f"{ideal:+12.1%}"
        )
    for name, errors in (
        ("the model", [abs(row.error) for row in checks]),
        ("ideal scaling", [abs(row.ideal / row.published - 1) for row in checks]),
    ):
        print(
            f"{name}: {len(errors)} predictions, median error {statistics.median(errors):.1%}, "
            f"largest {max(errors):.1%}"
        )
    print("\nParaGAN, BigGAN at 1,024 cores, published efficiency 91%; by deviation of a step:")
    for deviation in (0.0, DEVIATION, 0.02):
        print(f"  {deviation:.0%}: {check_paragan(deviation).predicted:.1%}")


if __name__ == "__main__":
    main()
