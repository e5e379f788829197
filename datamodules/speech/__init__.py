"""Speech: audio files, transcripts, features, shards."""
