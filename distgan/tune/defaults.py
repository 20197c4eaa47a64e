"""What is worth trying for any recipe, where nobody says what to vary."""

from __future__ import annotations

from distgan.config.run import Config
from distgan.tune.space import is_zero


def default_space(config: Config) -> dict[str, str]:
    """What is worth trying for any recipe, by what GANs are known to be sensitive to.

    The generator's rate and the discriminator's as a multiple of it (two time-scales, Heusel
    et al. 2017), the decays of Adam, the weight of R1 (Mescheder et al. 2018), updates of D for
    one of G, the half-life of the moving average, the batch, and augmentation of D's images
    (Zhao et al. 2020).
    """
    generator, discriminator = config.generator, config.discriminator
    half_life, r1 = generator.ema.half_life, discriminator.penalty.r1
    updates = sorted({1, 2, discriminator.updates})
    lr = "generator.optimizer.lr"
    space = {
        lr: "scale(0.3, 10)",
        "discriminator.optimizer.lr": f"ratio({lr}, 0.25, 4)",
        "generator.optimizer.beta1": "choice(0, 0.25, 0.5)",
        "discriminator.optimizer.beta1": "same(generator.optimizer.beta1)",
        "generator.optimizer.beta2": "choice(0.9, 0.99, 0.999)",
        "discriminator.optimizer.beta2": "same(generator.optimizer.beta2)",
        "discriminator.penalty.r1": "choice(0, 0.01, 0.1, 1)" if is_zero(r1) else "scale(0.1, 10)",
        "discriminator.updates": f"choice({', '.join(map(str, updates))})",
        "generator.ema.half_life": (
            "choice(0, 5000, 20000)" if is_zero(half_life) else "scale(0.1, 3)"
        ),
        "batch": f"choice({', '.join(str(b) for b in _batches(config))})",
        "discriminator.augment.name": _augmentations(discriminator.augment.name),
    }
    if config.compile != "off":
        del space["discriminator.penalty.r1"]
    return space


def _batches(config: Config) -> list[int]:
    wanted = (config.batch // 2, config.batch, 2 * config.batch)
    every = config.discriminator.penalty.every
    return [b for b in wanted if b and b % config.accumulate == 0 and every % b == 0]


def _augmentations(own: str) -> str:
    return "choice(none, diffaugment)" if own == "none" else f"choice({own}, none)"
