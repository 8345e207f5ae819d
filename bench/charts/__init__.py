"""Measurement of the image reader on charts and tables drawn with random data and styles."""
