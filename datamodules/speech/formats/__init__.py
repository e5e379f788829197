"""How the formats of audio files say where their samples begin and end."""
