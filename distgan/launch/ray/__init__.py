"""Training and evaluation on Ray: clusters, workers, failures, and what they tell the driver."""
