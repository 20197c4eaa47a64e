"""JAX: the whole step as one jitted program, Adam by optax, images channels last.

It takes as many threads as its process has cores, so that fewer threads are fewer cores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from torch import nn

from benchmarks.peers.contest import Contender, Task, Weights
from benchmarks.textbook import BETAS, RATE
from distgan.families import Batch

_LAYOUT = ("NHWC", "HWIO", "NHWC")
Parameters = list[list[Any]]


def _taken(layer: nn.Module) -> list[Any]:
    # Kernels become height x width x in x out, and matrices in x out.
    found = []
    for parameter in layer.parameters():
        value = parameter.detach().numpy()
        if value.ndim == 4:
            transposed = isinstance(layer, nn.ConvTranspose2d)
            value = value.transpose((2, 3, 0, 1) if transposed else (2, 3, 1, 0))
        found.append(jnp.asarray(value.T if value.ndim == 2 else value))
    return found


def _given_back(layer: nn.Module, values: Sequence[Any]) -> list[Weights]:
    found = []
    for value in map(np.asarray, values):
        if value.ndim == 4:
            transposed = isinstance(layer, nn.ConvTranspose2d)
            value = value.transpose((2, 3, 0, 1) if transposed else (3, 2, 0, 1))
        found.append(value.T if value.ndim == 2 else value)
    return found


def _apply(layer: nn.Module, values: Sequence[Any], x: Any) -> tuple[Any, Any]:
    """A torch layer's result, and its batch statistics where it has some."""
    if isinstance(layer, nn.Linear):
        return x @ values[0] + values[1], None
    if isinstance(layer, nn.ConvTranspose2d):
        stride, reach = layer.stride[0], layer.kernel_size[0] - 1 - int(layer.padding[0])
        x = lax.conv_general_dilated(
            x, jnp.flip(values[0], (0, 1)), (1, 1), [(reach, reach)] * 2, (stride, stride),
            dimension_numbers=_LAYOUT,
        )  # fmt: skip
        return x + values[1] if len(values) > 1 else x, None
    if isinstance(layer, nn.Conv2d):
        pads = [(int(layer.padding[0]),) * 2] * 2
        x = lax.conv_general_dilated(x, values[0], layer.stride, pads, dimension_numbers=_LAYOUT)
        return x + values[1] if len(values) > 1 else x, None
    if isinstance(layer, nn.BatchNorm2d):
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        scale = values[0] * lax.rsqrt(variance + layer.eps)
        return (x - mean) * scale + values[1], (mean, variance)
    if isinstance(layer, nn.LeakyReLU):
        return jax.nn.leaky_relu(x, layer.negative_slope), None
    return {nn.ReLU: jax.nn.relu, nn.Tanh: jnp.tanh}[type(layer)](x), None


class _Network:
    def __init__(self, network: nn.Module, task: Task, generates: bool) -> None:
        assert isinstance(network.layers, nn.Sequential)
        self._layers, self._generates = list(network.layers), generates
        self._flat, self._image = task.workload.network == "mlp", task.workload.image
        self.parameters = [_taken(layer) for layer in self._layers]
        norms = [layer for layer in self._layers if isinstance(layer, nn.BatchNorm2d)]
        zeros = [jnp.zeros(norm.num_features) for norm in norms]
        self.statistics = [(zero, zero + 1) for zero in zeros]

    def __call__(self, parameters: Parameters, statistics: Any, x: Any) -> tuple[Any, Any]:
        """Images or logits, and the running statistics moved towards this batch's."""
        seen = []
        if self._flat and not self._generates:
            x = x.reshape(len(x), -1)
        elif self._generates and not self._flat:
            x = x[:, None, None, :]
        for layer, values in zip(self._layers, parameters, strict=True):
            x, found = _apply(layer, values, x)
            seen += [] if found is None else [found]
        running = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, statistics, seen)
        if self._generates and self._flat:
            x = (2 * jax.nn.sigmoid(x) - 1).reshape(-1, *self._image[1:], self._image[0])
        return x if self._generates else x.reshape(-1), running

    def weights(self, parameters: Parameters) -> list[Weights]:
        pairs = zip(self._layers, parameters, strict=True)
        return [value for layer, values in pairs for value in _given_back(layer, values)]


def build(task: Task) -> Contender:
    """See `benchmarks.peers.contest`."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    networks = task.networks()
    generator, discriminator = _Network(networks[0], task, True), _Network(networks[1], task, False)
    adam = optax.adam(RATE, *BETAS, eps=1e-8)

    def judge(own: Parameters, running: Any, real: Any, fake: Any) -> tuple[Any, Any]:
        on_real, running = discriminator(own, running, real)
        on_fake, running = discriminator(own, running, fake)
        return jax.nn.softplus(-on_real).mean() + jax.nn.softplus(on_fake).mean(), running

    def step(state: Any, real: Any, latent: Any) -> tuple[Any, Any]:
        (g, d), (g_adam, d_adam), (g_running, d_running) = state

        def imitate(own: Parameters) -> tuple[Any, Any]:
            return generator(own, g_running, latent)

        fake, back, g_running_new = jax.vjp(imitate, g, has_aux=True)
        judged = jax.value_and_grad(judge, has_aux=True)
        (d_loss, d_running), slopes = judged(d, d_running, real, fake)
        changes, d_adam = adam.update(slopes, d_adam, d)
        d = optax.apply_updates(d, changes)

        def fool(images: Any) -> tuple[Any, Any]:
            logits, running = discriminator(d, d_running, images)
            return jax.nn.softplus(-logits).mean(), running

        (g_loss, d_running), towards = jax.value_and_grad(fool, has_aux=True)(fake)
        changes, g_adam = adam.update(back(towards)[0], g_adam, g)
        g = optax.apply_updates(g, changes)
        return ((g, d), (g_adam, d_adam), (g_running_new, d_running)), (d_loss, g_loss)

    jitted = jax.jit(step, donate_argnums=0)
    own = generator.parameters, discriminator.parameters
    state = (
        own,
        (adam.init(own[0]), adam.init(own[1])),
        (generator.statistics, discriminator.statistics),
    )

    def taken(batch: Batch) -> tuple[Any, Any]:
        real = batch.columns["image"].permute(0, 2, 3, 1).numpy()
        return jnp.asarray(real), jnp.asarray(batch.draws["generator"].numpy())

    turn = task.turn(taken)

    def work() -> int:
        nonlocal state
        state, losses = jitted(state, *next(turn))
        _ = [float(loss) for loss in losses]
        return task.workload.batch

    def weights() -> tuple[list[Weights], list[Weights]]:
        g, d = state[0]
        return generator.weights(g), discriminator.weights(d)

    return Contender(work, weights)
