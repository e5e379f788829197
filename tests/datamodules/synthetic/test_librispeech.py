"""The synthetic recordings look on disk as LibriSpeech's do, and say nothing but their transcripts."""

import itertools
import string
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datamodules.speech.corpus import read_subset
from datamodules.speech.tokenizers import ALPHABET
from datamodules.synthetic import librispeech as synthetic_set
from datamodules.synthetic.librispeech import GAP, LETTERS, LOWEST, RATE, SPACE, STEP, TONE
from tests.filesystem import listing, snapshot

COUNTS = {"train": 80, "dev": 10, "test": 9}
BLOCK = 40  # samples over which loudness is measured


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller synthetic set than users get, made in the same way."""
    root = tmp_path_factory.mktemp("synthetic") / synthetic_set.FOLDER
    synthetic_set.make(root, **COUNTS)
    return root


def recordings(root: Path, split: str = "*") -> list[Path]:
    return sorted(root.glob(f"{split}-tones/*/*/*.flac"))


def transcripts(root: Path) -> dict[tuple[str, str], str]:
    """What is said, by subset and id."""
    return {
        (file.relative_to(root).parts[0], name): words
        for file in root.glob("*/*/*/*.trans.txt")
        for name, words in (line.split(" ", 1) for line in file.read_text(encoding="ascii").splitlines())
    }


def seconds(files: list[Path]) -> np.ndarray:
    return np.array([soundfile.info(file).duration for file in files])


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in listing(folder) if (folder / name).is_file()}


def hear(audio: np.ndarray) -> str:
    """Tell the words from the tones, by their energy and their pitch alone."""
    blocks = audio[: len(audio) // BLOCK * BLOCK].reshape(-1, BLOCK)
    loud = np.sqrt(np.square(blocks).mean(1)) > 0.08
    heard = ""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int))).reshape(-1, 2) * BLOCK
    tone = np.median(edges[:, 1] - edges[:, 0])
    for number, (start, stop) in enumerate(edges):
        if number and start - edges[number - 1, 1] > (GAP + SPACE / 2) / TONE * tone:
            heard += " "
        spectrum = np.abs(np.fft.rfft(audio[start:stop] * np.hanning(stop - start), 1 << 15))
        pitch = spectrum.argmax() * RATE / (1 << 15)
        heard += LETTERS[round(np.log(pitch / LOWEST) / np.log(STEP))]
    return heard


def test_synthetic_set_is_in_the_layout_of_the_published_one(root: Path) -> None:
    expected = set()
    for split, count in COUNTS.items():
        for number in range(count):
            speaker, place = number % 4, number // 4
            expected.add(f"{split}-tones/{speaker}/1/{speaker}-1-{place:04d}.flac")
            expected.add(f"{split}-tones/{speaker}/1/{speaker}-1.trans.txt")
    assert contents(root).keys() == expected


def test_recordings_are_flac_as_the_published_ones(root: Path) -> None:
    for file in recordings(root):
        info = soundfile.info(file)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16000, 1)


def test_subsets_can_be_read_and_every_recording_has_its_transcript(root: Path, tmp_path: Path) -> None:
    said = transcripts(root)
    for split, count in COUNTS.items():
        found = read_subset(root / f"{split}-tones", tmp_path, RATE, 512, "error")
        assert len(found) == count
        assert all(utterance.transcript == said[f"{split}-tones", utterance.id] for utterance in found)
        assert {utterance.speaker for utterance in found} == {"0", "1", "2", "3"}


def test_transcripts_are_words_in_librispeechs_alphabet(root: Path) -> None:
    said = transcripts(root)
    assert len(said) == sum(COUNTS.values())
    assert set("".join(said.values())) == {" ", *string.ascii_uppercase} < set(ALPHABET)
    assert all(2 <= len(word) <= 7 for words in said.values() for word in words.split(" "))


def test_recordings_last_between_about_1_and_15_seconds_and_short_ones_are_common(root: Path) -> None:
    lengths = seconds(recordings(root))
    assert lengths.min() > 0.9
    assert lengths.max() < 17
    assert (lengths < 3).mean() > 0.1
    assert (lengths > 9).mean() > 0.05
    assert (lengths < 8).mean() > 0.6
    assert len(set(lengths)) > 0.95 * len(lengths)


def test_tones_of_a_recording_are_the_letters_of_its_transcript(root: Path) -> None:
    said = transcripts(root)
    for file in recordings(root):
        audio, _ = soundfile.read(file, dtype="float32")
        assert hear(audio) == said[file.relative_to(root).parts[0], file.stem]


@pytest.mark.parametrize("letter", LETTERS)
def test_each_letter_is_a_tone_of_its_own(letter: str) -> None:
    audio = synthetic_set.record([letter * 3, letter], np.random.default_rng(0))
    assert hear(audio) == f"{letter * 3} {letter}"


def test_recording_is_within_bounds_and_its_speed_and_loudness_are_drawn() -> None:
    generator = np.random.default_rng(0)
    drawn = [synthetic_set.record(["WORD", "SPELT"], generator) for _ in range(50)]
    for audio in drawn:
        assert audio.dtype == np.float32
        assert audio.ndim == 1
        assert abs(audio).max() <= 1
    plain = (9 * (TONE + GAP) + 3 * SPACE) * RATE
    lengths = np.array([len(audio) for audio in drawn]) / plain
    assert 0.85 < lengths.min() < 0.92
    assert 1.1 < lengths.max() < 1.2
    peaks = np.array([np.quantile(abs(audio), 0.95) for audio in drawn])
    assert peaks.max() > 1.8 * peaks.min()


@pytest.mark.parametrize("wanted", [0.3, 1.0, 5.0, 15.0])
def test_words_take_about_the_seconds_that_were_asked_for(wanted: float) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        drawn = synthetic_set.words(wanted, generator)
        taken = SPACE + sum(len(word) * (TONE + GAP) + SPACE for word in drawn)
        assert wanted <= taken <= wanted + 7 * (TONE + GAP) + SPACE + 1e-9


def test_subsets_are_drawn_apart(root: Path) -> None:
    said = transcripts(root)
    assert len(set(said.values())) == len(said)
    heads = [soundfile.read(recordings(root, split)[0], frames=4000)[0].tobytes() for split in COUNTS]
    assert len(set(heads)) == 3


def test_synthetic_set_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    synthetic_set.make(tmp_path / "first", train=5, dev=2, test=1)
    np.random.default_rng(5).random(3)
    synthetic_set.make(tmp_path / "second", train=5, dev=2, test=1)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_synthetic_set_of_fewer_utterances_than_speakers_can_be_read(tmp_path: Path) -> None:
    synthetic_set.make(tmp_path / "data", train=1, dev=2, test=3)
    for split, count in (("train", 1), ("dev", 2), ("test", 3)):
        assert len(read_subset(tmp_path / "data" / f"{split}-tones", tmp_path, RATE, 512, "error")) == count


def test_synthetic_set_that_is_there_is_left_alone(tmp_path: Path) -> None:
    synthetic_set.make(tmp_path / "data", train=2, dev=1, test=1)
    before = snapshot(tmp_path / "data")
    synthetic_set.make(tmp_path / "data", train=3, dev=2, test=2)
    assert snapshot(tmp_path / "data") == before


def test_nothing_is_kept_if_making_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = synthetic_set.record
    calls = itertools.count()

    def stop(words: list[str], generator: np.random.Generator) -> np.ndarray:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return record(words, generator)

    monkeypatch.setattr(synthetic_set, "record", stop)
    with pytest.raises(KeyboardInterrupt):
        synthetic_set.make(tmp_path / "data", train=4, dev=4, test=4)
    assert listing(tmp_path) == []
