"""Audio of any kind is recognized in segments; the synthetic data is made once."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from datamodules.librispeech import LibriSpeech
from datamodules.synthetic import librispeech as synthetic_set
from sextant.errors import InputError
from tests.datamodules.speech_data import FEATURES, RATE, during, indices
from tests.filesystem import listing, snapshot


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of three kinds: short at 16 kHz, stereo at 44.1 kHz, and long at 8 kHz."""
    folder = tmp_path_factory.mktemp("talks")
    draw = np.random.default_rng(0)
    soundfile.write(folder / "a.wav", draw.uniform(-0.3, 0.3, 8000), RATE)
    soundfile.write(folder / "b.ogg", draw.uniform(-0.3, 0.3, (44100, 2)), 44100)
    (folder / "more").mkdir()
    soundfile.write(folder / "more" / "c.mp3", draw.uniform(-0.3, 0.3, 40000), 8000)
    return folder


def test_predict_needs_audio_alone(
    prepared: Callable[..., LibriSpeech], talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = {"root": "nowhere", "cache": str(tmp_path / "cache"), "train": [], "val": ["none"], "subwords": 100}
    data = prepared("predict", audio=str(talks), **missing)
    assert data.vocabulary == []
    assert sum(len(batch) for batch in indices(data.predict_dataloader())) == 3
    assert listing(tmp_path) == []


def test_audio_to_recognize_comes_once_in_segments_with_their_places(
    prepared: Callable[..., LibriSpeech], talks: Path
) -> None:
    data = prepared("predict", audio=str(talks), longest_segment=2.0)
    loader = data.predict_dataloader()
    data.trainer = during("predicting")
    found = []
    for batch in loader:
        names = data.sample_names(batch)
        batch = data.transform(batch, training=False)
        assert batch.keys() == {"features", "start", "end", "index", "frame_seconds"}
        assert batch["start"].dtype == batch["end"].dtype == torch.float64
        features, frames = batch["features"]
        assert features.shape == (len(names), frames.max(), FEATURES)
        assert features.isfinite().all()
        rows = zip(batch["index"].tolist(), names, batch["start"].tolist(), batch["end"].tolist(), frames, strict=True)
        for index, name, start, end, count in rows:
            found.append((index, name, start, end))
            assert count == pytest.approx((end - start) * 100 - 3.2, abs=1.1)
    found.sort()
    assert [index for index, *_ in found] == list(range(len(found)))
    for file, seconds in (("a.wav", 0.5), ("b.ogg", 1.0), ("more/c.mp3", 5.0)):
        places = [(start, end) for _, name, start, end in found if name == str(talks / file)]
        edges = [0.0, *(end for _, end in places)]
        assert places == list(itertools.pairwise(edges))
        assert edges[-1] == seconds
        assert all(end - start <= 2 for start, end in places)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_audio_to_recognize_is_given_to_the_ranks_once(
    prepared: Callable[..., LibriSpeech], talks: Path, ranks: int
) -> None:
    data = prepared("predict", audio=str(talks), max_batch_length=30.0)
    found = []
    for rank in range(ranks):
        data.trainer = during("predicting", rank, ranks)
        found += indices(data.predict_dataloader())
    assert sorted(itertools.chain(*found)) == [0, 1, 2]


def test_single_file_can_be_recognized(prepared: Callable[..., LibriSpeech], talks: Path) -> None:
    data = prepared("predict", audio=str(talks / "b.ogg"))
    assert indices(data.predict_dataloader()) == [[0]]


def test_no_audio_to_recognize_is_an_input_error_that_says_how_to_give_some(
    prepared: Callable[..., LibriSpeech], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--data\.prediction\.audio="):
        prepared("predict")
    with pytest.raises(InputError, match=r"no such file or folder \(data\.prediction\.audio\)") as error:
        prepared("predict", audio=str(tmp_path / "talk.wav"))
    assert str(error.value).startswith(str(tmp_path / "talk.wav"))


def test_file_that_cannot_be_recognized_is_named(prepared: Callable[..., LibriSpeech], tmp_path: Path) -> None:
    (tmp_path / "talk.flac").write_text("no audio")
    soundfile.write(tmp_path / "click.wav", np.zeros(100), RATE)
    with pytest.raises(InputError, match="2 of 2 files") as error:
        prepared("predict", audio=str(tmp_path))
    assert str(tmp_path / "talk.flac") in str(error.value)
    assert str(tmp_path / "click.wav") in str(error.value)


def test_file_that_cannot_be_recognized_is_left_out_where_that_is_allowed(
    prepared: Callable[..., LibriSpeech], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "talk.au", np.zeros(9000), RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    (tmp_path / "talk.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    with pytest.raises(InputError, match=r"2 of 3 files(?s:.*)--data\.invalid_samples=skip"):
        prepared("predict", audio=str(tmp_path))
    with pytest.warns(UserWarning, match="2 of 3 files"):
        data = prepared("predict", audio=str(tmp_path), invalid_samples="skip")
    data.trainer = during("predicting")
    assert [data.sample_names(batch) for batch in data.predict_dataloader()] == [[str(tmp_path / "talk.au")]]


def test_synthetic_data_is_made_in_the_cache_once_and_only_if_it_is_asked_for(
    make: Callable[..., LibriSpeech],
    prepared: Callable[..., LibriSpeech],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(synthetic_set, "make", functools.partial(synthetic_set.make, train=8, dev=4, test=4))
    cache = tmp_path / "cache"
    options = {"cache": str(cache), "root": "nowhere", "max_batch_length": 30.0}
    make(**options).prepare_data()
    make(**options, synthetic=True)
    assert not cache.exists()
    data = prepared("fit", **options, synthetic=True, train=["other"], download=True)
    assert data.synthetic
    assert data.root == cache / synthetic_set.FOLDER
    assert sorted(itertools.chain(*indices(data.train_dataloader()))) == list(range(8))
    assert sorted(itertools.chain(*indices(data.val_dataloader()))) == list(range(4))
    before = snapshot(data.root)
    data = prepared("test", **options, synthetic=True)
    assert sorted(itertools.chain(*indices(data.test_dataloader()))) == list(range(4))
    assert snapshot(data.root) == before
