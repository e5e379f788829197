"""What a command writes to the terminal, or into a file that stands for it."""
