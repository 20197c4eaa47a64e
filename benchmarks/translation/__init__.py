"""Image translation beside baselines and a plain script: ``python -m benchmarks.translation``."""
