"""The settings of a run: how they are declared, read, written and overridden."""
