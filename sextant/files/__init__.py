"""Reading the files that users give: what is wrong with one is an error that names it."""
