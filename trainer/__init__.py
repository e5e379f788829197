"""What the shared Trainer adds to Lightning's: command line, resume policy, checkpoint files."""
