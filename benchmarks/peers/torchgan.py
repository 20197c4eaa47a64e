"""torchgan: its Trainer's `train_iter`, with its own losses, on networks in its base classes.

Its losses draw latents anew for each update; the networks here take the task's instead, so
that the result can be compared.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.peers import torchvision
from benchmarks.peers.contest import Contender, Task, both_latents, of_torch
from benchmarks.textbook import BETAS, RATE

# Its console and its TensorBoard cost time that the others do not spend.
os.environ |= {"CONSOLE_LOGGING": "0", "TENSORBOARD_LOGGING": "0"}
torchvision.importable()

from torchgan.losses import (  # noqa: E402
    MinimaxDiscriminatorLoss,
    MinimaxGeneratorLoss,
)
from torchgan.models import Discriminator, Generator  # noqa: E402
from torchgan.trainer import Trainer  # noqa: E402


class _Generator(Generator):  # type: ignore[misc]
    def __init__(self, network: nn.Module, latents: Iterator[Tensor], length: int) -> None:
        super().__init__(length)
        self.network, self._latents = network, latents

    def forward(self, noise: Tensor) -> Tensor:
        images: Tensor = self.network(next(self._latents))
        return images


class _Discriminator(Discriminator):  # type: ignore[misc]
    def __init__(self, network: nn.Module) -> None:
        super().__init__(0)
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def build(task: Task) -> Contender:
    """See `benchmarks.peers.contest`."""
    torch.set_num_threads(task.threads)
    networks, batches = task.networks(), task.batches()
    latents = both_latents(batches)
    adam = {"name": torch.optim.Adam, "args": {"lr": RATE, "betas": BETAS}}
    models = {
        "generator": {
            "name": _Generator,
            "args": {"network": networks[0], "latents": latents, "length": task.config.latent},
            "optimizer": adam,
        },
        "discriminator": {
            "name": _Discriminator,
            "args": {"network": networks[1]},
            "optimizer": adam,
        },
    }
    folder = tempfile.mkdtemp()
    trainer = Trainer(
        models,
        [MinimaxDiscriminatorLoss(), MinimaxGeneratorLoss()],
        device=torch.device("cpu"),
        checkpoints=f"{folder}/gan",
        recon=folder,
    )
    trainer.batch_size = task.workload.batch
    turn = itertools.cycle(batches)

    def work() -> int:
        trainer.real_inputs = next(turn).columns["image"]
        trainer.train_iter()
        return task.workload.batch

    return Contender(work, lambda: (of_torch(networks[0]), of_torch(networks[1])))
