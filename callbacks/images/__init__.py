"""What is shown and written of images and masks, one callback per file."""
