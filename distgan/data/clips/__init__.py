"""Sets of clips: rows of frames, of which a sample sees those that its family's rule chooses."""
