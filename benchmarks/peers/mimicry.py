"""torch-mimicry: the `train_step` of its base networks, as its Trainer calls them.

They draw latents anew for each update; the generator here takes the task's instead, so that
the result can be compared.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import types
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.peers import torchvision
from benchmarks.peers.contest import Contender, Task, both_latents, of_torch
from benchmarks.textbook import BETAS, RATE

torchvision.importable()

# The package itself imports metrics that want TensorFlow 1 and a torch before 2.
_SPEC = importlib.util.find_spec("torch_mimicry")
assert _SPEC is not None
_PACKAGE = types.ModuleType("torch_mimicry")
_PACKAGE.__path__ = list(_SPEC.submodule_search_locations or [])
sys.modules["torch_mimicry"] = _PACKAGE

from torch_mimicry.nets.gan.gan import BaseDiscriminator, BaseGenerator  # noqa: E402
from torch_mimicry.training.metric_log import MetricLog  # noqa: E402

# The cross entropy with targets exchanged, which is the non-saturating loss.
_LOSS = "gan"


class _Generator(BaseGenerator):  # type: ignore[misc]
    def __init__(self, network: nn.Module, latents: Iterator[Tensor]) -> None:
        super().__init__(nz=1, ngf=1, bottom_width=4, loss_type=_LOSS)
        self.network, self._latents = network, latents

    def forward(self, noise: Tensor) -> Tensor:
        images: Tensor = self.network(next(self._latents))
        return images


class _Discriminator(BaseDiscriminator):  # type: ignore[misc]
    def __init__(self, network: nn.Module) -> None:
        super().__init__(ndf=1, loss_type=_LOSS)
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits.view(-1, 1)


def build(task: Task) -> Contender:
    """See `benchmarks.peers.contest`."""
    torch.set_num_threads(task.threads)
    networks, batches = task.networks(), task.batches()
    latents = both_latents(batches)
    generator, discriminator = _Generator(networks[0], latents), _Discriminator(networks[1])
    optimizers = [torch.optim.Adam(net.parameters(), lr=RATE, betas=BETAS) for net in networks]
    turn = itertools.cycle(batches)
    labels = torch.zeros(task.workload.batch)

    def work() -> int:
        log, batch = MetricLog(), (next(turn).columns["image"], labels)
        log = discriminator.train_step(batch, generator, optimizers[1], log)
        generator.train_step(batch, discriminator, optimizers[0], log)
        return task.workload.batch

    return Contender(work, lambda: (of_torch(networks[0]), of_torch(networks[1])))
