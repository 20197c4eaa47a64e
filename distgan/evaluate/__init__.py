"""Evaluation of a generator: features of real and generated images, metrics, metric cards."""
