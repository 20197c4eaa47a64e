"""The frame that benchmarks plug into: turns, noise, resuming, tables, JSON, chart.

To plug in: `benchmarks/NAME.py` sets ``BENCHMARK = Benchmark(NAME, about, compare)`` and ends with
``if __name__ == "__main__": main(BENCHMARK)``; ``compare(options)`` yields `Comparison`s, whose
sides start a `Process(prepare, ...)`; a line in `frame/known.py` adds it to the list and to `all`.
"""

from __future__ import annotations

from benchmarks.frame.command import main
from benchmarks.frame.comparison import Benchmark, Comparison, Contender, InPlace
from benchmarks.turns import Process, Turn, Unavailable, Values, Work, timed

__all__ = [
    "Benchmark",
    "Comparison",
    "Contender",
    "InPlace",
    "Process",
    "Turn",
    "Unavailable",
    "Values",
    "Work",
    "main",
    "timed",
]
