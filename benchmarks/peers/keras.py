"""TensorFlow and Keras: layers of Keras, images channels last, trained in one of two ways.

By a step in `tf.function`, compiled by XLA or not; or as Keras's guide to `train_step` has it,
by a Model that is given batch after batch with `train_on_batch`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import keras
import numpy as np
import tensorflow as tf
import torch
from torch import nn

from benchmarks.peers.contest import Contender, Task, Weights
from benchmarks.textbook import BETAS, RATE
from distgan.families import Batch

_cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits


def _layer(layer: nn.Module) -> Any:
    make = keras.layers
    if isinstance(layer, nn.Linear):
        return make.Dense(layer.out_features)
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        kind = make.Conv2D if isinstance(layer, nn.Conv2d) else make.Conv2DTranspose
        # Size 4, stride 2 and padding 1 are what "same" means for even sides.
        padding = "same" if layer.padding[0] else "valid"
        biased = layer.bias is not None
        size, stride = layer.kernel_size, layer.stride
        return kind(layer.out_channels, size, stride, padding=padding, use_bias=biased)
    if isinstance(layer, nn.BatchNorm2d):
        return make.BatchNormalization(momentum=0.9, epsilon=layer.eps)
    if isinstance(layer, nn.LeakyReLU):
        return make.LeakyReLU(layer.negative_slope)
    return {nn.ReLU: make.ReLU, nn.Tanh: lambda: make.Activation("tanh")}[type(layer)]()


def _there(values: Weights) -> Weights:
    return values.transpose(2, 3, 1, 0) if values.ndim == 4 else values.T


def _back(values: Weights) -> Weights:
    return values.transpose(3, 2, 0, 1) if values.ndim == 4 else values.T


class _Network:
    """A torch network's layers as a Keras model with the same weights."""

    def __init__(self, network: nn.Module, task: Task, generates: bool) -> None:
        assert isinstance(network.layers, nn.Sequential)
        channels, *size = task.workload.image
        made = [(layer, _layer(layer)) for layer in network.layers]
        flat, layers = task.workload.network == "mlp", [theirs for _, theirs in made]
        if generates:
            shape = (task.config.latent,)
            if not flat:
                layers.insert(0, keras.layers.Reshape((1, 1, -1)))
            else:
                layers += [
                    keras.layers.Activation("sigmoid"),
                    keras.layers.Rescaling(2, -1),
                    keras.layers.Reshape((*size, channels)),
                ]
        else:
            shape = (*size, channels)
            layers = (
                [keras.layers.Flatten(), *layers] if flat else [*layers, keras.layers.Flatten()]
            )
        self.model = keras.Sequential([keras.Input(shape), *layers])
        self._layers = [theirs for ours, theirs in made if list(ours.parameters())]
        self._all = [theirs for _, theirs in made]
        for ours, theirs in made:
            for variable, parameter in zip(
                theirs.trainable_variables, ours.parameters(), strict=True
            ):
                variable.assign(_there(parameter.detach().numpy()))

    def weights(self) -> list[Weights]:
        return [_back(np.asarray(v)) for layer in self._layers for v in layer.trainable_variables]

    def fill(self, network: nn.Module) -> None:
        """Write weights and running statistics into a torch network of the same layers."""
        assert isinstance(network.layers, nn.Sequential)
        for ours, theirs in zip(network.layers, self._all, strict=True):
            own = [*ours.parameters()]
            if isinstance(ours, nn.BatchNorm2d):
                own += [ours.running_mean, ours.running_var]
            for tensor, variable in zip(own, theirs.variables, strict=True):
                tensor.data.copy_(torch.from_numpy(_back(np.asarray(variable)).copy()))


class _GAN(keras.Model):  # type: ignore[misc]
    def __init__(self, generator: Any, discriminator: Any) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.for_generator, self.for_discriminator = (
            keras.optimizers.Adam(RATE, *BETAS, epsilon=1e-8) for _ in range(2)
        )
        self.for_generator.build(generator.trainable_variables)
        self.for_discriminator.build(discriminator.trainable_variables)
        self.built = True

    def train_step(self, data: Any) -> dict[str, Any]:
        real, latent, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as watching_generator:
            fake = self.generator(latent, training=True)
            with watching_generator.stop_recording():
                loss = self._improve_discriminator(real, fake)
            logits = self.discriminator(fake, training=True)
            fooled = tf.reduce_mean(_cross_entropy(tf.ones_like(logits), logits))
        own = self.generator.trainable_variables
        self.for_generator.apply_gradients(
            zip(watching_generator.gradient(fooled, own), own, strict=True)
        )
        return {"d_loss": loss, "g_loss": fooled}

    def _improve_discriminator(self, real: Any, fake: Any) -> Any:
        with tf.GradientTape() as tape:
            on_real = self.discriminator(real, training=True)
            on_fake = self.discriminator(fake, training=True)
            loss = tf.reduce_mean(_cross_entropy(tf.ones_like(on_real), on_real))
            loss += tf.reduce_mean(_cross_entropy(tf.zeros_like(on_fake), on_fake))
        own = self.discriminator.trainable_variables
        self.for_discriminator.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
        return loss


def build(task: Task, xla: bool = False, through_keras: bool = False) -> Contender:
    """See `benchmarks.peers.contest`.

    Args:
        through_keras: `train_on_batch` of a compiled Model, not a `tf.function`.
    """
    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    networks = task.networks()
    generator, discriminator = _Network(networks[0], task, True), _Network(networks[1], task, False)
    gan = _GAN(generator.model, discriminator.model)
    step: Callable[..., Any]
    if through_keras:
        # Its losses are its own; compile only makes it ready.
        gan.compile(jit_compile=False)
        turn = task.turn(_plain)
        step = gan.train_on_batch
    else:
        turn = task.turn(lambda batch: tuple(map(tf.constant, _plain(batch))))
        compiled = tf.function(gan.train_step, jit_compile=xla)

        def step(real: Any, latent: Any) -> Any:
            return [float(loss) for loss in compiled((real, latent)).values()]

    def work() -> int:
        step(*next(turn))
        return task.workload.batch

    return Contender(work, lambda: (generator.weights(), discriminator.weights()), generator.fill)


def _plain(batch: Batch) -> tuple[Weights, Weights]:
    real = batch.columns["image"].permute(0, 2, 3, 1).contiguous()
    return real.numpy(), batch.draws["generator"].numpy()
