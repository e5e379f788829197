"""Questions about images: annotations, answers, tokens."""
