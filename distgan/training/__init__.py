"""The training loop, the update of the weights, and all that changes while a run trains."""
