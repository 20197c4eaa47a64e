"""Layers with another implementation on processors where it was measured to be faster.

They use private operators of torch and are kept apart from the architectures for that reason.
Without the operator or on another processor, each layer is torch's own.
"""
