"""Whatever is wrong with a recording or a transcript is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datamodules.librispeech import LibriSpeech
from datamodules.speech import corpus as speech_corpus
from datamodules.speech.tokenizers import ALPHABET, BOUNDARY
from sextant.errors import InputError
from tests.datamodules.speech_data import COUNTS, FEATURES, RATE, SMALL, recordings
from tests.filesystem import cut_in_half, snapshot


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("character", ["h", "\xc9", "-", "7", "\u0416", "\u2019", "A\u0301"])
def test_transcript_with_an_unknown_character_is_named_with_the_recording_and_the_character(
    prepared: Callable[..., LibriSpeech], copy: Path, split: str, character: str
) -> None:
    file = next((copy / SMALL[split][0]).glob("*/*/*.trans.txt"))
    first, *others = file.read_text().splitlines(keepends=True)
    name = first.split()[0]
    file.write_text(f"{name} THE {character}WORD\n{''.join(others)}", encoding="utf-8")
    with pytest.raises(InputError, match=r"--data\.tokenizer\.alphabet") as error:
        prepared("test" if split == "test" else "fit", root=str(copy))
    assert str(error.value).startswith(f"{file.with_name(name)}.flac: ")
    assert repr(character[-1]) in str(error.value)
    assert f"THE {character}WORD" in str(error.value)


def test_alphabet_that_has_the_character_gives_it_a_label(prepared: Callable[..., LibriSpeech], copy: Path) -> None:
    for subset in ("train", "val"):
        for file in (copy / SMALL[subset][0]).glob("*/*/*.trans.txt"):
            ids = [line.split()[0] for line in file.read_text().splitlines()]
            file.write_text("".join(f"{name} \u0436\u0443\u043a \u0436\n" for name in ids), encoding="utf-8")
    data = prepared("fit", root=str(copy), alphabet="\u0436\u0443\u043a ")
    batch = next(iter(data.train_dataloader()))
    assert batch["text"][0] == "\u0436\u0443\u043a \u0436"
    assert batch["labels"].data[0].tolist() == [1, 2, 3, 4, 1]


def test_transcript_that_is_no_sequence_of_subwords_is_named_and_the_advice_helps(
    prepared: Callable[..., LibriSpeech], copy: Path
) -> None:
    file = next((copy / "dev-small").glob("*/*/*.trans.txt"))
    file.write_text("".join(f"{line.split()[0]} CAF\xc9\n" for line in file.read_text().splitlines()), encoding="utf-8")
    with pytest.raises(InputError, match=r"--data\.tokenizer\.alphabet") as error:
        prepared("fit", root=str(copy), subwords=40)
    assert str(error.value).startswith(str(file.parent))
    assert "'\xc9'" in str(error.value)
    data = prepared("fit", root=str(copy), subwords=40, alphabet=f"{ALPHABET}\xc9")
    assert len(data.vocabulary) == 41
    spelled = {
        text: "".join(data.vocabulary[label] for label in row[:count])
        for batch in data.val_dataloader()
        for text, row, count in zip(batch["text"], *batch["labels"], strict=True)
    }
    assert spelled["CAF\xc9"] == f"{BOUNDARY}CAF\xc9"


def test_recordings_that_cannot_be_used_stop_or_are_left_out_as_said(
    prepared: Callable[..., LibriSpeech], copy: Path
) -> None:
    cut_in_half(recordings(copy, "train")[3])
    recordings(copy, "train")[8].write_bytes(b"")
    with pytest.raises(InputError, match="2 of 14 recordings") as error:
        prepared("fit", root=str(copy))
    assert str(recordings(copy, "train")[3]) in str(error.value)
    with pytest.warns(UserWarning, match="2 of 14 recordings"):
        data = prepared("fit", root=str(copy), invalid_samples="skip")
    names = [name for batch in data.train_dataloader() for name in batch["id"]]
    assert len(names) == 12
    left = [file for k, file in enumerate(recordings(copy, "train")) if k not in (3, 8)]
    assert sorted(names) == sorted(file.stem for file in left)


def make_longer(file: Path) -> None:
    soundfile.write(file, np.zeros(50_000), RATE)


def make_stereo(file: Path) -> None:
    soundfile.write(file, np.zeros((soundfile.info(file).frames, 2)), RATE)


@pytest.mark.parametrize("change", [make_longer, make_stereo, cut_in_half, Path.unlink])
def test_recording_that_changed_after_it_was_listed_is_named(
    prepared: Callable[..., LibriSpeech], copy: Path, change: Callable[[Path], object]
) -> None:
    data = prepared("fit", root=str(copy))
    file = recordings(copy, "train")[5]
    change(file)
    with pytest.raises(InputError, match="has changed since it was listed") as error:
        list(data.train_dataloader())
    assert str(error.value).startswith(f"{file}: ")


def test_recordings_at_another_rate_are_read_when_it_is_said(prepared: Callable[..., LibriSpeech], copy: Path) -> None:
    for file in (copy / "dev-small").glob("*/*/*.flac"):
        samples, _ = soundfile.read(file)
        soundfile.write(file, samples[::2], 8000)
    with pytest.raises(InputError, match=r"6 of 6(?s:.*)data\.features\.sample_rate"):
        prepared("validate", root=str(copy))
    data = prepared("validate", root=str(copy), sample_rate=8000)
    batch = next(iter(data.val_dataloader()))
    features, frames = data.transform(batch, training=False)["features"]
    assert frames.tolist() == ((batch["audio"].lengths - 256) // 80 + 1).tolist()
    assert features.shape == (len(frames), frames.max(), FEATURES)
    seconds = sum(batch["audio"].lengths.sum().item() for batch in data.val_dataloader()) / 8000
    assert seconds == pytest.approx(sum(soundfile.info(file).duration for file in recordings(copy, "val")))


def test_only_the_subsets_that_a_stage_needs_are_read(prepared: Callable[..., LibriSpeech], copy: Path) -> None:
    needed = {"fit": {"train", "val"}, "validate": {"val"}, "test": {"test"}}
    for stage, splits in needed.items():
        nothing = {split: ["missing"] for split in COUNTS if split not in splits}
        prepared(stage, root=str(copy), **nothing)
        for split in splits:
            with pytest.raises(InputError, match=str(copy / "missing")):
                prepared(stage, root=str(copy), **{split: ["missing"]})


@pytest.mark.parametrize(("stage", "split"), [("fit", "train"), ("fit", "val"), ("test", "test")])
def test_split_without_subsets_is_an_input_error_that_names_its_setting(
    prepared: Callable[..., LibriSpeech], stage: str, split: str
) -> None:
    with pytest.raises(InputError, match=rf"data\.subsets\.{split} names no subset"):
        prepared(stage, **{split: []})


def test_nothing_in_the_folder_of_the_recordings_is_written(prepared: Callable[..., LibriSpeech], copy: Path) -> None:
    before = snapshot(copy.parent)
    for stage in ("fit", "validate", "test"):
        prepared(stage, root=str(copy))
    assert snapshot(copy.parent) == before


def test_second_setup_decodes_nothing(
    prepared: Callable[..., LibriSpeech], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared("fit", root=str(copy))

    def refuse(*args: object) -> None:
        raise AssertionError("a recording was decoded again")

    monkeypatch.setattr(speech_corpus, "read_audio", refuse)
    prepared("fit", root=str(copy))
    with pytest.raises(AssertionError):
        prepared("test", root=str(copy))
