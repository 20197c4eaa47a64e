"""`python -m benchmarks.peers`."""

from benchmarks.frame import main
from benchmarks.peers import BENCHMARK

if __name__ == "__main__":
    main(BENCHMARK)
