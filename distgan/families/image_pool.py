"""Earlier fakes that a discriminator is shown again, so that it does not forget them.

Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training"
(CVPR 2017), section 2.3, in the form of Zhu et al. (ICCV 2017), section 4: image by image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from distgan import draws
from distgan.parallel import World


class ImagePool:
    """Holds up to ``size`` fakes and gives some of them in the place of new ones.

    While it is not full, a fake is stored and given. After that, with probability 1/2, it is stored
    in the place of one that lies here, each as likely, and that one is given; else it is given
    itself. What happens to a fake is a function of (seed, stream, its sample's number), and fakes
    come in the order of these, so that any number of ranks and micro-batches, and a run that was
    resumed, give the same.

    Every rank holds the whole pool, on its device: ``size`` images of the run's dtype, which is
    39 MB for 50 images of 256 x 256 in three channels of float32.

    Args:
        stream: of the draws.
    """

    def __init__(self, size: int, seed: int, stream: str) -> None:
        self.size, self._seed, self._stream = size, seed, stream
        self._stored = 0
        # Made when the first fakes come, which is when their shape and device are known.
        self._images: Tensor | None = None

    @torch.no_grad()
    def exchange(
        self, first: int, fakes: Tensor, whole: Callable[[Tensor], Tensor], world: World
    ) -> Tensor:
        """What a discriminator is shown in the place of the fakes of a micro-batch.

        All ranks must call it, once for each micro-batch. Nothing here waits for the device.

        Args:
            first: number of the first sample of the global micro-batch.
            fakes: of this rank's share of it, float (n, c, h, w) without a graph.
            whole: gathers the shares of all ranks in their order.

        Returns:
            Images, float (n, c, h, w); copies of their own.
        """
        everyone = whole(fakes)
        pool = self._room_for(fakes)
        given: list[Tensor] = []
        changed: dict[int, Tensor] = {}
        numbers = range(first, first + len(everyone))
        for fake, (chance, place) in zip(everyone.unbind(), self._draw(numbers), strict=True):
            if self._stored < self.size:
                slot, out = self._stored, fake
                self._stored += 1
            elif chance <= 0.5:
                slot = int((1 - place) * self.size)
                out = changed.get(slot, pool[slot])
            else:
                given.append(fake)
                continue
            given.append(out)
            changed[slot] = fake
        shown = torch.empty_like(fakes)
        # Few kernels, and no indices that would have to travel to the device.
        torch._foreach_copy_(list(shown.unbind()), given[world.share(len(given))])
        if changed:
            torch._foreach_copy_([pool[slot] for slot in changed], list(changed.values()))
        return shown

    def _draw(self, numbers: range) -> list[list[float]]:
        found = draws.uniforms(self._seed, self._stream, [numbers], 2)
        # In float64 1 - u stays below 1 for the smallest u.
        rows: list[list[float]] = found.astype("float64").tolist()
        return rows

    def _room_for(self, fakes: Tensor) -> Tensor:
        if self._images is None:
            self._images = fakes.new_zeros((self.size, *fakes.shape[1:]))
        else:
            self._images = self._images.to(fakes)
        return self._images

    def state_dict(self, world: World) -> dict[str, Any]:
        """The images that lie here: every rank holds the same."""
        nothing = torch.zeros(0)
        return {"images": nothing if self._images is None else self._images[: self._stored].cpu()}

    def load_state_dict(self, state: dict[str, Any], world: World) -> None:
        """Take up what `state_dict` gave, on any number of ranks.

        Raises:
            ValueError: for more images than fit in here.
        """
        images: Tensor = state["images"]
        if len(images) > self.size:
            raise ValueError(f"{len(images)} images do not fit in a pool of {self.size}")
        self._stored = len(images)
        self._images = None
        if self._stored:
            self._images = images.new_zeros((self.size, *images.shape[1:]))
            self._images[: self._stored] = images
