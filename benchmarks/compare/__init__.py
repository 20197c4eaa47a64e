"""GAN, VAE and VAE-GAN on the same data: ``python -m benchmarks.compare``."""
