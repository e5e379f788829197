"""Where a model runs: strategies beside those of Lightning."""
