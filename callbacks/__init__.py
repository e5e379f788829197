"""What is watched and written while a model is trained or used, one callback per file."""
