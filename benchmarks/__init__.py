"""What the program costs and how fast it is, each script a command of its own: see README.md."""
