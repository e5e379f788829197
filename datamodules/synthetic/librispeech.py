"""Synthetic speech in LibriSpeech's layout: words spelled in tones.

Each letter is a tone of its own, a semitone and a half above the one before it in the alphabet. Letters are separated
by short gaps and words by long ones, under noise. The transcript follows from the recording without doubt, so the best
possible error rate is 0.
"""

from pathlib import Path

import numpy as np
import soundfile

from datamodules.synthetic.writing import write_set

FOLDER = "synthetic-librispeech"
RATE = 16000
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOWEST = 220.0  # Hz, the tone of A
STEP = 2 ** (1.5 / 12)
TONE, GAP, SPACE = 0.08, 0.03, 0.12  # seconds
SHORTEST, LONGEST = 1.0, 15.0


def record(words: list[str], generator: np.random.Generator) -> np.ndarray:
    """Spell words in tones, float32 (samples,) in [-1, 1], at a speed and a loudness that are drawn."""
    speed = generator.uniform(0.85, 1.15)
    silence = np.zeros(round(SPACE / speed * RATE))
    gap = np.zeros(round(GAP / speed * RATE))
    time = np.arange(round(TONE / speed * RATE)) / RATE
    edge = np.minimum(1, np.minimum(time, time[::-1]) / 0.005)  # without clicks
    parts = [silence]
    for word in words:
        for letter in word:
            frequency = LOWEST * STEP ** LETTERS.index(letter)
            parts += [edge * np.sin(2 * np.pi * frequency * time + generator.uniform(0, 2 * np.pi)), gap]
        parts.append(silence)
    audio = generator.uniform(0.2, 0.6) * np.concatenate(parts)
    return (audio + generator.normal(0, 0.02, len(audio))).clip(-1, 1).astype(np.float32)


def words(seconds: float, generator: np.random.Generator) -> list[str]:
    """Draw words of random letters that take about so many seconds."""
    drawn: list[str] = []
    left = seconds - SPACE
    while left > 0:
        size = int(generator.integers(2, 8))
        drawn.append("".join(generator.choice(list(LETTERS), size)))
        left -= size * (TONE + GAP) + SPACE
    return drawn


def write_subset(folder: Path, lengths: np.ndarray, generator: np.random.Generator) -> None:
    """Write utterances of about so many seconds, float (N,), by four speakers."""
    for speaker in range(4):
        chapter = folder / str(speaker) / "1"
        chapter.mkdir(parents=True)
        lines = []
        for number in range(speaker, len(lengths), 4):
            said = words(lengths[number], generator)
            name = f"{speaker}-1-{number // 4:04d}"
            soundfile.write(chapter / f"{name}.flac", record(said, generator), RATE, subtype="PCM_16")
            lines.append(f"{name} {' '.join(said)}\n")
        (chapter / f"{speaker}-1.trans.txt").write_text("".join(lines), encoding="ascii")


def make(destination: Path, train: int = 600, dev: int = 60, test: int = 60) -> None:
    """Write the synthetic recordings unless it is there.

    Args:
        destination: the folder to make, with the subsets ``train-tones``, ``dev-tones`` and ``test-tones``.
        train: utterances of the training subset.
        dev: utterances of the validation subset.
        test: utterances of the test subset.
    """

    def fill(folder: Path) -> Path:
        for seed, (subset, count) in enumerate({"train": train, "dev": dev, "test": test}.items()):
            generator = np.random.default_rng([seed, 1])
            # Many short ones and few long ones, as people speak.
            lengths = SHORTEST + (LONGEST - SHORTEST) * generator.beta(1.2, 2.5, count)
            write_subset(folder / f"{subset}-tones", lengths, generator)
        return folder

    write_set(destination, fill)
