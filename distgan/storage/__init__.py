"""Files, wherever they lie: reading, writing, owning, and cleaning up."""
