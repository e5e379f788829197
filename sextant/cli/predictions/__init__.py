"""What a model says of samples, in files."""
