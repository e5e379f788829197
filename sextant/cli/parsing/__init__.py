"""How a command is read: its files, its arguments, and what is said of a mistake in them."""
