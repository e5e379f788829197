"""What is written of a run: its folder, its loggers, and what is drawn for them."""
