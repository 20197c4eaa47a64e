"""The same networks trained by the same rule with what people would use instead.

One peer a file, each with ``build(task) -> Contender``; `benchmarks.peers.contest` lists them.
"""
