"""The health of a run: measured signs, their diagnosis, and the reaction to it."""
