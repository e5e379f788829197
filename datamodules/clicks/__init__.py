"""Click logs: rows parsed, prepared as memory-mapped arrays, and read as batches."""
