"""Generators of small sample sets, in the real on-disk formats."""
