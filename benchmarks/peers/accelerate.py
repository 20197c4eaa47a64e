"""Hugging Face Accelerate: networks and optimizers prepared, backward through it."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.peers.contest import Contender, Task, of_torch
from benchmarks.textbook import BETAS, RATE


def build(task: Task) -> Contender:
    """See `benchmarks.peers.contest`."""
    torch.set_num_threads(task.threads)
    accelerator = Accelerator(cpu=True)
    networks = task.networks()
    optimizers = [torch.optim.Adam(net.parameters(), lr=RATE, betas=BETAS) for net in networks]
    generator, discriminator, for_generator, for_discriminator = accelerator.prepare(
        *networks, *optimizers
    )
    turn = task.turn(lambda batch: batch)

    def judge(images: torch.Tensor, target: float) -> torch.Tensor:
        logits = discriminator(images)
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def work() -> int:
        batch = next(turn)
        for_discriminator.zero_grad()
        fake = generator(batch.draws["generator"])
        loss = judge(batch.columns["image"], 1.0) + judge(fake.detach(), 0.0)
        accelerator.backward(loss)
        for_discriminator.step()
        for_generator.zero_grad()
        fooled = judge(fake, 1.0)
        accelerator.backward(fooled)
        for_generator.step()
        _ = loss.item(), fooled.item()
        return task.workload.batch

    return Contender(work, lambda: (of_torch(networks[0]), of_torch(networks[1])))
