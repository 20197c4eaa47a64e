"""The pictures of README and guides: each is made anew by one command, from runs and tables."""
