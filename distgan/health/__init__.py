"""The health of a run: signs, what they come to, and what is done about it."""
