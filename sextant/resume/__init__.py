"""Checkpoint files, and what makes a run go on exactly."""
