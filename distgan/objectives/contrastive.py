"""A loss that tells places of an image apart.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation" (ECCV 2020), section 3,
equations 3 and 4, after van den Oord et al., "Representation Learning with Contrastive Predictive
Coding" (2018).
"""

from __future__ import annotations

from torch import Tensor


def patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """How badly each query is told to be of its own place, among all places of its image.

    The cross entropy of a choice between the keys, whose logits are their products with the query
    over the ``temperature``; right is the key of the query's place. Keys of other images are no
    choice, so that it is a value of each sample alone.

    Args:
        queries: vectors of an output at p places, float (n, p, d), of length 1.
        keys: of its input at the same places, float (n, p, d); they take no gradients.

    Returns:
        Means over the places, float (n,), in nats.
    """
    logits = queries.bmm(keys.detach().transpose(1, 2)) / temperature
    return (logits.logsumexp(2) - logits.diagonal(dim1=1, dim2=2)).mean(1)
