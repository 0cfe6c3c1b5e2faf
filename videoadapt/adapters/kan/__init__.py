"""Kolmogorov-Arnold layers: the readable form, splines, and the operators that run them."""
