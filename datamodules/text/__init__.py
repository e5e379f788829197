"""Text: lines of files and hubs, token streams, windows."""
