"""What is watched and written while training, one callback per file."""
