"""Train the small classifiers that the package ships.

    python -m distgan.features.train_classifier mnist --test sets/mnist-test --out m.safetensors
    python -m distgan.features.train_classifier fashion-mnist --data sets/fashion \
        --test sets/fashion-test --out fashion-mnist.safetensors
    python -m distgan.features.train_classifier cifar10 --data sets/cifar10 \
        --test sets/cifar10-test --epochs 20 --out cifar10.safetensors

Sets are those of `distgan data prepare`. The same seed on the same machine gives the same
weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distgan.config.shape import ImageShape
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.features.classifier import CLASSES, SHAPES, SmallClassifier
from distgan.storage.storage import Storage

_BATCH, _LARGEST_RATE, _SHIFT = 250, 3e-3, 2


def load(data: str, shape: ImageShape) -> tuple[Tensor, Tensor]:
    """A set as float (n, c, h, w) in [-1, 1] and labels, int64 (n,).

    Raises:
        UserError: for a set without labels, or of another shape.
    """
    images = open_images(data)
    if not images.classes or images.shape != shape:
        raise UserError(f"--data {data}: should be of labelled images of shape {tuple(shape)}")
    pixels = read_resident(images)
    found = torch.from_numpy(pixels.images).permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)
    assert pixels.labels is not None
    return found, torch.from_numpy(pixels.labels)


def train(images: Tensor, labels: Tensor, classes: int, epochs: int, seed: int) -> SmallClassifier:
    """Adam with one cycle of the learning rate, images shifted by up to two pixels and, in
    colour, mirrored, and the average of the weights over the last few hundred steps."""
    torch.manual_seed(seed)
    network = SmallClassifier(classes, images.shape[1]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=ema, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01, fused=True)
    steps = epochs * (len(images) // _BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LARGEST_RATE, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(images))[: steps // epochs * _BATCH]
        for rows in torch.split(order, _BATCH):
            loss = cross_entropy(
                network(_shifted(images[rows]))[1], labels[rows], label_smoothing=0.05
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cycle.step()
            average.update_parameters(network)
            total += loss.item()
        print(f"epoch {epoch + 1} of {epochs}: loss {total * epochs / steps:.4f}", flush=True)
    found: SmallClassifier = average.module  # type: ignore[assignment]
    found.eval()
    with torch.no_grad():
        features = torch.cat([found(part)[0] for part in torch.split(images[:10_000], 500)])
    found.deviation.fill_(features.std(0).square().mean().sqrt())
    return found


def _shifted(images: Tensor) -> Tensor:
    # Gray sets are digits and clothes; the mirror image of a digit is not a digit.
    if images.shape[1] > 1 and torch.rand(()) < 0.5:
        images = images.flip(3)
    down, right = torch.randint(0, 2 * _SHIFT + 1, (2,)).tolist()
    padded = pad(images, (_SHIFT,) * 4, value=-1)
    return padded[:, :, down : down + images.shape[2], right : right + images.shape[3]]


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images whose most probable class is their label."""
    network.eval()
    right = [
        network(part)[1].argmax(1) == wanted
        for part, wanted in zip(torch.split(images, 500), torch.split(labels, 500), strict=True)
    ]
    return torch.cat(right).double().mean().item()


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=list(CLASSES))
    parser.add_argument("--data", help="the set to learn [NAME]")
    parser.add_argument("--test", help="a set to measure the accuracy on")
    parser.add_argument("--epochs", type=int, default=10, help="[10]")
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.safetensors")
    options = parser.parse_args()
    shape = SHAPES[options.name]
    network = train(
        *load(options.data or options.name, shape),
        len(CLASSES[options.name]),
        options.epochs,
        options.seed,
    )
    if options.test:
        print(f"accuracy on {options.test}: {accuracy(network, *load(options.test, shape)):.4f}")
    tensors = {name: t.contiguous() for name, t in network.state_dict().items()}
    Storage(options.out.parent).write(options.out.name, save_tensors(tensors))


if __name__ == "__main__":
    main()
