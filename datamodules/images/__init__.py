"""Image files: read, cached, cropped, augmented."""
