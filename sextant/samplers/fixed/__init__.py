"""Batches of a size that is given: whole epochs of them as a function of the seed and the epoch."""
