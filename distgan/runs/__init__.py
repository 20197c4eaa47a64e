"""The folder of a run: configuration, checkpoints, records, samples and exported weights."""
