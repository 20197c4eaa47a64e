"""Train the small 3-D network that the package ships, on the clips of `motion_task`.

    python -m distgan.features.train_motion --out distgan/features/weights/motion.safetensors

It takes several minutes on one core. Things are blobs and the digits in the package: the first
50,000 to learn from, the others to measure by. The same seed on the same machine gives the same
weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.features.motion import MotionNetwork
from distgan.features.motion_task import KINDS, TOLD, moving_clips
from distgan.storage.storage import Storage

_BATCH, _LARGEST_RATE = 64, 3e-3
_LEARNED = 50_000
"""Digits to learn from."""
_KIND_WEIGHT = 0.3


def train(digits: Tensor, steps: int, seed: int) -> MotionNetwork:
    """Adam with one cycle of the learning rate, and the average of the last hundred or so weights.

    Args:
        digits: uint8 (n, 28, 28).
    """
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    network = MotionNetwork(len(TOLD), len(KINDS))
    ema = get_ema_multi_avg_fn(0.98)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=ema, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01, fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LARGEST_RATE, total_steps=steps)
    total = 0.0
    for step in range(1, steps + 1):
        batch = moving_clips(digits, _BATCH, draw)
        _, told, kinds = network(batch.clips)
        loss = mse_loss(told, batch.told) + _KIND_WEIGHT * cross_entropy(kinds, batch.kinds)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        cycle.step()
        average.update_parameters(network)
        total += loss.item()
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {total / 50:.4f}", flush=True)
            total = 0.0
    found: MotionNetwork = average.module  # type: ignore[assignment]
    found.eval()
    with torch.no_grad():
        features = found(moving_clips(digits, 1000, draw).clips)[0]
    found.deviation.fill_(features.std(0).square().mean().sqrt())
    return found


@torch.no_grad()
def measure(network: MotionNetwork, digits: Tensor, count: int, seed: int) -> dict[str, float]:
    """How well it tells the motion of new clips.

    Returns:
        for each of `TOLD` the share of its variance that is told, and as ``kind`` the share of
        clips whose kind is told.
    """
    draw = torch.Generator().manual_seed(seed)
    batches = [moving_clips(digits, 100, draw) for _ in range(count // 100)]
    answers = [network(batch.clips) for batch in batches]
    wanted = torch.cat([batch.told for batch in batches])
    error = torch.cat([told for _, told, _ in answers]) - wanted
    shares = 1 - error.square().mean(0) / wanted.var(0, correction=0)
    right = torch.cat([kinds.argmax(1) for _, _, kinds in answers])
    kinds = torch.cat([batch.kinds for batch in batches])
    found = dict(zip(TOLD, shares.tolist(), strict=True))
    return {**found, "kind": right.eq(kinds).double().mean().item()}


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=500, help="of 64 clips [500]")
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.safetensors")
    options = parser.parse_args()
    digits = torch.from_numpy(read_resident(open_images("mnist")).images[..., 0])
    network = train(digits[:_LEARNED], options.steps, options.seed)
    tensors = {name: t.contiguous() for name, t in network.state_dict().items()}
    Storage(options.out.parent).write(options.out.name, save_tensors(tensors))
    for name, share in measure(network, digits[_LEARNED:], 2000, options.seed + 1).items():
        print(f"{name}: {share:.3f}")


if __name__ == "__main__":
    main()
