"""Activation space: modules that map tokens to a delta of the same shape, zero when fresh."""
