"""Reading files: what is wrong with one that a user gives is an error that names it."""
