"""Recordings become the batches that are described."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from datamodules.librispeech import LibriSpeech
from datamodules.speech.log_mel import LogMel
from datamodules.speech.tokenizers import BLANK, BOUNDARY
from tests.datamodules.speech_data import (
    COUNTS,
    FEATURES,
    RATE,
    assert_same,
    during,
    loader_of,
    recordings,
    transcripts,
)


@pytest.mark.parametrize(("stage", "split"), [("fit", "train"), ("fit", "val"), ("validate", "val"), ("test", "test")])
def test_batches_have_the_fields_that_are_documented(
    prepared: Callable[..., LibriSpeech], librispeech: Path, stage: str, split: str
) -> None:
    data = prepared(stage)
    files, said = recordings(librispeech, split), transcripts(librispeech, split)
    batches = list(loader_of(data, split))
    assert len(batches) == len(loader_of(data, split)) > 1
    for batch in batches:
        batch = data.transform(batch, training=False)
        count = len(batch["index"])
        assert batch.keys() == {"features", "labels", "text", "id", "index", "frame_seconds"}
        assert batch["index"].dtype == torch.int64
        features, frames = batch["features"]
        labels, label_counts = batch["labels"]
        assert features.dtype == torch.float32
        assert features.shape == (count, frames.max(), FEATURES)
        assert labels.shape == (count, label_counts.max())
        assert frames.shape == label_counts.shape == (count,)
        assert labels.dtype == frames.dtype == label_counts.dtype == torch.int64
        assert batch["frame_seconds"] == 0.01
        for row, index in enumerate(batch["index"].tolist()):
            assert frames[row] == (soundfile.info(files[index]).frames - 512) // 160 + 1
            assert batch["id"][row] == files[index].stem
            assert batch["text"][row] == said[index]
            spelled = [data.vocabulary[label] for label in labels[row, : label_counts[row]]]
            assert "".join(spelled).replace(BOUNDARY, " ") == said[index]
            assert (labels[row, label_counts[row] :] == 0).all()
    assert sorted(index for batch in batches for index in batch["index"].tolist()) == list(range(COUNTS[split]))


def test_features_outside_of_training_are_those_of_the_recordings_alone(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    data = prepared("validate")
    files = recordings(librispeech, "val")
    for batch in data.val_dataloader():
        features, frames = data.transform(batch, training=False)["features"]
        for row, index in enumerate(batch["index"].tolist()):
            audio = torch.from_numpy(soundfile.read(files[index], dtype="float32")[0])
            alone, count = LogMel(RATE, FEATURES)(audio[None], torch.tensor([len(audio)]))
            assert count[0] == frames[row]
            torch.testing.assert_close(features[row, : frames[row]], alone[0], rtol=1e-3, atol=1e-3)


def test_vocabulary_is_the_alphabet_in_every_stage(prepared: Callable[..., LibriSpeech]) -> None:
    for stage in ("fit", "validate", "test"):
        assert prepared(stage).vocabulary == [BLANK, BOUNDARY, "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    assert prepared("fit", alphabet="ZYXWVUTSRQPONMLKJIHGFEDCBA ").vocabulary[1:3] == ["Z", "Y"]


def test_subwords_are_those_of_the_training_transcripts_in_every_stage(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    found = [prepared(stage, subwords=32) for stage in ("fit", "validate", "test")]
    assert len(found[0].vocabulary) == 33
    assert found[0].vocabulary == found[1].vocabulary == found[2].vocabulary
    said = transcripts(librispeech, "test")
    for batch in found[2].test_dataloader():
        labels, counts = batch["labels"]
        for row, index in enumerate(batch["index"].tolist()):
            spelled = "".join(found[2].vocabulary[label] for label in labels[row, : counts[row]])
            assert spelled.replace(BOUNDARY, " ").strip() == said[index]


def test_several_subsets_follow_each_other(prepared: Callable[..., LibriSpeech], librispeech: Path) -> None:
    data = prepared("test", test=["test-small", "dev-small"])
    named: dict[int, str] = {}
    data.trainer = during("testing")
    for batch in data.test_dataloader():
        named.update(zip(batch["index"].tolist(), data.sample_names(batch), strict=True))
    files = [*recordings(librispeech, "test"), *recordings(librispeech, "val")]
    assert [named[index] for index in range(10)] == [str(file) for file in files]


def test_workers_give_the_same_batches(prepared: Callable[..., LibriSpeech]) -> None:
    alone, others = (prepared("fit", num_workers=workers, seed=3) for workers in (0, 1))
    assert_same(list(others.train_dataloader()), list(alone.train_dataloader()))


def test_samples_are_named_by_their_files(prepared: Callable[..., LibriSpeech], librispeech: Path) -> None:
    fit = prepared("fit")
    for data, split, state in (
        (fit, "train", "training"),
        (fit, "val", "validating"),
        (fit, "val", "sanity_checking"),
        (prepared("validate"), "val", "validating"),
        (prepared("test"), "test", "testing"),
    ):
        loader = loader_of(data, split)
        data.trainer = during(state)
        files = recordings(librispeech, split)
        for batch in loader:
            assert data.sample_names(batch) == [str(files[index]) for index in batch["index"].tolist()]
        data.trainer = None


def test_units_are_seconds_of_audio_and_utterances(prepared: Callable[..., LibriSpeech]) -> None:
    data = prepared("fit")
    batches = list(data.train_dataloader())
    found = [data.units(data.transform(batch, training=False)) for batch in batches]
    assert [units["utterances"] for units in found] == [len(batch["index"]) for batch in batches]
    for batch, units in zip(batches, found, strict=True):
        # The last window of each utterance begins up to 42 ms before its end.
        seconds = batch["audio"].lengths.sum().item() / RATE
        assert seconds - 0.042 * len(batch["index"]) <= units["audio_seconds"] <= seconds
    assert next(iter(found[0])) == "audio_seconds", "the first one is shown"
