"""The checks of `benchmarks.gpu_check`, a function each."""
