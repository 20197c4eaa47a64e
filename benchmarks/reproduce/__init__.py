"""Published results that two cores can reproduce: ``python -m benchmarks.reproduce``.

``experiment`` says what an experiment is and keeps its records; each other module is one.
"""
