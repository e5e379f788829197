"""Where data sets come from: verified archives, the Hugging Face hub."""
