"""Lightning: a LightningModule with manual optimization, as its documentation's GAN.

`Trainer.fit` runs in a thread, and its loader hands out a batch whenever one is worked on.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.peers import torchvision
from benchmarks.peers.contest import Contender, Task, of_torch
from benchmarks.textbook import BETAS, RATE
from distgan.families import Batch

torchvision.importable()

import lightning  # noqa: E402

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class _GAN(lightning.LightningModule):
    def __init__(self, task: Task) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = task.networks()

    def _judge(self, images: Tensor, target: float) -> Tensor:
        logits = self.discriminator(images)
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        for_generator, for_discriminator = self.optimizers()
        real, latent = batch
        fake = self.generator(latent)

        self.toggle_optimizer(for_discriminator)
        loss = self._judge(real, 1.0) + self._judge(fake.detach(), 0.0)
        for_discriminator.zero_grad()
        self.manual_backward(loss)
        for_discriminator.step()
        self.untoggle_optimizer(for_discriminator)

        self.toggle_optimizer(for_generator)
        fooled = self._judge(fake, 1.0)
        for_generator.zero_grad()
        self.manual_backward(fooled)
        for_generator.step()
        self.untoggle_optimizer(for_generator)
        self.log_dict({"d_loss": loss, "g_loss": fooled})

    def configure_optimizers(self) -> Any:
        networks = (self.generator, self.discriminator)
        return [torch.optim.Adam(n.parameters(), lr=RATE, betas=BETAS) for n in networks], []


class _Gate:
    """A loader that waits to be asked."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = [(batch.columns["image"], batch.draws["generator"]) for batch in batches]
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._error: Exception | None = None

    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in itertools.cycle(self._batches):
            self._done.release()
            self._go.acquire()
            yield batch

    def wait(self) -> None:
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def work(self) -> int:
        self._go.release()
        self.wait()
        return len(self._batches[0][0])

    def fail(self, error: Exception) -> None:
        self._error = error
        self._done.release()


def build(task: Task) -> Contender:
    """See `benchmarks.peers.contest`."""
    torch.set_num_threads(task.threads)
    gate, gan = _Gate(task.batches()), _GAN(task)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )

    def fit() -> None:
        torch.set_num_threads(task.threads)
        try:
            trainer.fit(gan, gate)
        except Exception as error:
            gate.fail(error)

    threading.Thread(target=fit, daemon=True).start()
    gate.wait()
    return Contender(gate.work, lambda: (of_torch(gan.generator), of_torch(gan.discriminator)))
