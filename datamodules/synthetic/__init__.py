"""Generators of small synthetic sets, in the real on-disk formats."""
