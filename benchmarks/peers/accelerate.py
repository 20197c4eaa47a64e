"""Hugging Face Accelerate: networks and optimizers prepared, backward through it."""

from __future__ import annotations

import itertools

import torch
from accelerate import Accelerator
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from benchmarks.peers.contest import Contender, Task, of_torch
from benchmarks.textbook import BETAS, RATE
from distgan.networks.spectral import spectral_norms


def build(task: Task) -> Contender:
    """See `benchmarks.peers.contest`."""
    torch.set_num_threads(task.threads)
    accelerator = Accelerator(cpu=True)
    networks = task.networks()
    optimizers = [torch.optim.Adam(net.parameters(), lr=RATE, betas=BETAS) for net in networks]
    generator, discriminator, for_generator, for_discriminator = accelerator.prepare(
        *networks, *optimizers
    )
    hinge, norms = task.workload.loss == "hinge", spectral_norms(networks[1])
    turn = itertools.cycle(task.batches())

    def judge(images: torch.Tensor, target: float, generating: bool = False) -> torch.Tensor:
        for norm in norms:
            norm.advance()
        logits = discriminator(images)
        if hinge:
            return -logits.mean() if generating else relu(1 - (2 * target - 1) * logits).mean()
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def work() -> int:
        batch = next(turn)
        for_discriminator.zero_grad()
        fake = generator(batch.generator_latent)
        loss = judge(batch.real, 1.0) + judge(fake.detach(), 0.0)
        accelerator.backward(loss)
        for_discriminator.step()
        for_generator.zero_grad()
        fooled = judge(fake, 1.0, generating=True)
        accelerator.backward(fooled)
        for_generator.step()
        _ = loss.item(), fooled.item()
        return len(batch.real)

    return Contender(work, lambda: (of_torch(networks[0]), of_torch(networks[1])))
