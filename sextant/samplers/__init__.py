"""The order of samples, one idea per file."""
