"""Measures of generated images, one a file: pure functions of features or of pixels."""
