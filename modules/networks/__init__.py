"""Plain torch.nn networks: no Lightning, no ranks, no files."""
