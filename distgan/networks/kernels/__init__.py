"""Layers that are computed another way on processors where that was measured to be faster.

They rest on private operators of torch, so no architecture does: where the operator or the
processor is missing, each layer is torch's own.
"""
