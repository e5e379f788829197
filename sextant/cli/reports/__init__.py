"""What runs were: a list of them, and one as a page."""
