"""A step never has the processor wait for the device, nor the device for numbers of the host; and
with `--deterministic` it does nothing whose bits vary on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.families.gan_config import GANConfig
from distgan.families.mocogan_config import MoCoGANConfig
from distgan.families.translation_config import TranslationConfig
from distgan.families.video_config import VideoConfig
from distgan.parallel import World
from distgan.plan.trace import trace
from distgan.recipes import RECIPES, recipe
from distgan.training.arithmetic import arithmetic

from .test_exactness import AIDS, PENALTIES, TINY
from .test_families import BATCH, CLASSES, IMAGE, batch_of, new

WAITS = ("_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "unique")
"""A number for the processor, sizes that depend on numbers, and a tensor made of a list."""
VARIES = (
    *("avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward"),
    *("adaptive_max_pool2d_backward", "fractional_max_pool2d_backward"),
    *("fractional_max_pool3d_backward", "max_unpool2d", "max_unpool3d"),
    *("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward"),
    *("upsample_linear1d_backward", "upsample_bilinear2d_backward"),
    *("upsample_bicubic2d_backward", "upsample_trilinear3d_backward"),
    *("_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward"),
    *("reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"),
    *("nll_loss2d_forward", "nll_loss2d_backward", "_ctc_loss_backward", "_embedding_bag"),
    *("put_", "histc", "bincount", "median", "kthvalue", "cumsum", "scatter_reduce"),
    *("grid_sampler_2d_backward", "grid_sampler_3d_backward", "grid_sampler_2d", "cumprod"),
    "_scaled_dot_product_efficient_attention_backward",
)
"""What torch's `use_deterministic_algorithms` refuses on CUDA, by its documentation, and pooling,
whose kernel adds atomically for some layouts. What adds up by index (`scatter_add`, `index_put`)
is not among it: torch sorts first where deterministic algorithms are on."""


class Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the names of operations, and which of them bring tensors from the processor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []
        self.brought: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        self.names.append(name)
        given = [part for part in args if isinstance(part, torch.Tensor)]
        if isinstance(found, torch.Tensor) and any(part.device != found.device for part in given):
            self.brought.append(name)
        return found

    def waits(self) -> list[str]:
        return [name for name in self.names if name.startswith(WAITS)]


def seen_in(config: RunConfig) -> Seen:
    """One cycle of updates, once those that only the first step does are done."""
    found, state = Seen(), new(config, World())
    with arithmetic(config.deterministic, torch.device("cpu")):
        for step in range(2 * state.cycle):
            first = state.images_seen
            starts = range(first, first + config.batch, config.micro_batch)
            batches = [batch_of(state, config, start) for start in starts]
            if step < state.cycle:
                state.step(batches)
            else:
                with found:
                    state.step(batches)
    return found


VIDEO = {
    **{"latent": 4, "sparse.span": 8, "generator.network.name": "r3gan"},
    **{"generator.network.widths": "8,6", "generator.motion.size": 4, "generator.motion.kernel": 2},
    **{"generator.motion.frequencies": 3, "discriminator.network.width": 4},
    "discriminator.network.join_at": 4,
}
PATCHES = {"discriminator.network.width": 4, "discriminator.network.layers": 1}
NARROW_CLIPS = {
    "conditional": True,
    "clip.frames": 4,
    **{
        f"{role}.network.width": 4
        for role in ("generator", "discriminator_image", "discriminator_video")
    },
}
TRANSLATORS: dict[str, dict[str, Any]] = {
    "unet": {**PATCHES, "generator.network.width": 4, "generator.network.levels": 0},
    "resnet": {**PATCHES, "generator.network.width": 4, "generator.network.blocks": 2},
    "srresnet": {**PATCHES, "generator.network.width": 4, "generator.network.blocks": 2},
}


def small(name: str, **changes: Any) -> RunConfig:
    """A recipe with narrow networks."""
    config = recipe(name)
    tiny: dict[str, Any] = {"batch": BATCH, "accumulate": 1}
    if isinstance(config, TranslationConfig):
        return override(config, {**tiny, **TRANSLATORS[config.generator.network.name], **changes})
    if isinstance(config, MoCoGANConfig):
        return override(config, {**tiny, **NARROW_CLIPS, **changes})
    if isinstance(config, VideoConfig):
        return override(config, {**tiny, **VIDEO, **changes})
    tiny["latent"] = 4
    if isinstance(config, GANConfig):
        tiny |= TINY[config.generator.network.name]
    elif name == "mnist-vae":
        tiny |= {"encoder.widths": "8,6", "decoder.widths": "8,6"}
    else:
        tiny |= {"encoder.width": 4, "decoder.width": 4}
    return override(config, {**tiny, **changes})


def of_networks(name: str, changes: dict[str, Any]) -> RunConfig:
    named = {f"{side}.network.name": name for side in ("generator", "discriminator")}
    basis = {**named, **TINY[name], "batch": BATCH, "latent": 4}
    return override(recipe("mnist-mlp-tutorial"), {**basis, **changes})


R1 = {"discriminator.penalty.r1": 0.5, "discriminator.penalty.r2": "0.5:0.1:50"}
ATTENTION = {"generator.network.attention": 8, "discriminator.network.attention": 4}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "penalties, clipped, ada": ("mlp", {**R1, **AIDS["clipped gradients"], **AIDS["ada"]}),
    "other penalties": ("mlp", {**AIDS["two penalties on other images"], **PENALTIES["lecam"]}),
    "top-k in parts, bf16": ("mlp", {**AIDS["top-k"], "accumulate": 2, "precision": "bf16"}),
    "auxiliary": ("mlp", AIDS["auxiliary"]),
    "diffaugment": ("dcgan", {"discriminator.augment.name": "diffaugment"}),
    "projection, top-k of pairs": ("sngan", {**AIDS["projection"], **AIDS["top-k of pairs"]}),
    "attention, penalties": ("sngan", {**ATTENTION, **R1}),
    "flip": ("r3gan", {**R1, "discriminator.augment.name": "flip"}),
    "penalties at raw images": ("r3gan", AIDS["penalties at raw images"]),
    "bf16 stages, labels": (
        "r3gan",
        {**AIDS["projection"], "generator.network.bf16_from": 8},
    ),
}
KINDS = {
    "mnist-vae": {
        "binarised": {"likelihood.binarise": True},
        "learned": {"likelihood.name": "gaussian", "likelihood.variance": "learned"},
        "optimal in parts": {"likelihood.name": "gaussian", "accumulate": 2},
        "levels, labels": {"likelihood.name": "discretised-logistic", "conditional": True},
    }
}
CONFIGS = {
    **{name: small(name) for name in RECIPES},
    **{name: of_networks(*case) for name, case in CASES.items()},
    **{
        f"{name}, {kind}": small(name, **changes)
        for name, kinds in KINDS.items()
        for kind, changes in kinds.items()
    },
}


_ALIKE = ("photos", "ffhq", "imagenet", "cut-256", "fastcut", "cyclegan-256", "pix2pix-256")
QUICK = [name for name in CONFIGS if not name.startswith(_ALIKE)]
"""The others differ from these by sizes, which are all small here."""


def check(name: str) -> None:
    found = seen_in(override(CONFIGS[name], {"deterministic": True}))
    assert found.waits() == []
    assert [each for each in found.names if each in VARIES] == []


@pytest.mark.parametrize("name", QUICK)
def test_a_step_waits_for_nothing_and_repeats(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in QUICK])
def test_steps_of_own_images_do_so_too(name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ["cifar10-sngan", "cifar10-r3gan", "attention, penalties"])
def test_without_it_the_faster_operations_are_used(name: str) -> None:
    """They are known by the test, and neither way waits."""
    found = seen_in(CONFIGS[name])
    assert found.waits() == []
    assert any(each in VARIES for each in found.names)


BY_TRACE = ["mnist-mlp", "cifar10-sngan-tiny", "diffaugment", "flip", "mnist-vae", "auxiliary"]


@pytest.mark.parametrize("name", BY_TRACE)
def test_nothing_is_copied_to_the_device(name: str) -> None:
    """On a device without memory, every tensor of the processor is one that was brought there."""
    with Seen() as found:
        trace(CONFIGS[name], DataSpec.numbered(IMAGE, CLASSES))
    assert found.brought == []
    assert len(found.names) > 100


def test_what_is_copied_is_seen() -> None:
    with Seen() as found:
        torch.ones(2).to("meta")
        torch.empty(2, device="meta").copy_(torch.ones(2))
    assert found.brought == ["_to_copy", "copy_"]
