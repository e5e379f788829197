"""Training utterances in shards become batches as those in folders do."""

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from datamodules.librispeech import LibriSpeech
from sextant.errors import InputError
from tests.datamodules.speech.shard_files import COUNT, FLAC, GOOD, RATE, borders, pack, pattern, recordings, said
from tests.datamodules.speech_data import during


@pytest.fixture(scope="module")
def prepared(make_sharded: Callable[..., LibriSpeech]) -> Callable[..., LibriSpeech]:
    """The same, ready for its training loader."""

    def prepare(position: dict[str, Any] | None = None, **options: Any) -> LibriSpeech:
        data = make_sharded(**options)
        if position is not None:
            data.load_state_dict(position)
        data.setup("fit")
        return data

    return prepare


def indices(data: LibriSpeech) -> list[list[int]]:
    loader = data.train_dataloader()
    try:
        return [batch["index"].tolist() for batch in loader]
    finally:
        if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
            loader._iterator._shutdown_workers()  # the garbage collector takes ten seconds for it after an error


def test_batches_hold_each_utterance_once_with_audio_and_labels(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    data = prepared()
    with pytest.raises(TypeError):
        len(data.train_dataloader())
    batches = list(data.train_dataloader())
    transcripts, files = said(librispeech), recordings(librispeech)
    assert sorted(name for batch in batches for name in batch["id"]) == sorted(transcripts)
    for batch in batches:
        audio, lengths = batch["audio"]
        labels, label_lengths = batch["labels"]
        assert audio.numel() / RATE / data.augmentation.slowest <= 6.0
        for i, name in enumerate(batch["id"]):
            expected, _ = soundfile.read(files[name], dtype="float32")
            np.testing.assert_array_equal(audio[i, : lengths[i]].numpy(), expected)
            assert not audio[i, lengths[i] :].any()
            spelled = "".join(data.vocabulary[label] for label in labels[i, : label_lengths[i]].tolist())
            assert spelled.replace("\u2581", " ") == batch["text"][i] == transcripts[name]
    assert len(data.val_dataloader()) >= 1


def test_utterances_are_named_by_their_shards_and_files(
    prepared: Callable[..., LibriSpeech], shards: Path, librispeech: Path
) -> None:
    data = prepared()
    loader = data.train_dataloader()
    data.trainer = during("training")
    named = {name: id for batch in loader for name, id in zip(data.sample_names(batch), batch["id"], strict=True)}
    assert sorted(named.values()) == sorted(said(librispeech))
    assert all(
        name.startswith(f"{shards}/train-small-00000") and name.endswith(f".tar/{named[name]}.flac") for name in named
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_begins_at_the_position_that_was_loaded(prepared: Callable[..., LibriSpeech], num_workers: int) -> None:
    whole = {epoch: indices(prepared({"epoch": epoch, "done": []})) for epoch in (2, 3)}
    assert len(whole[2]) >= 3
    assert whole[2] != whole[3]
    data = prepared({"epoch": 2, "done": [[1, 1]]}, num_workers=num_workers)
    loader: Any = data.train_dataloader()
    assert [batch["index"].tolist() for batch in loader] == whole[2][1:]
    loader.sampler.set_epoch(3)  # as Lightning does, also where workers stay
    assert [batch["index"].tolist() for batch in loader] == whole[3]


def test_parts_of_two_ranks_are_equally_long_and_hold_each_utterance_once(
    prepared: Callable[..., LibriSpeech],
) -> None:
    data = prepared(max_batch_length=4.0)
    everything = sorted(itertools.chain(*indices(data)))
    assert len(everything) == COUNT
    parts = []
    for rank in (0, 1):
        data.trainer = on_rank(rank, 2)
        parts.append(indices(data))
    assert len(parts[0]) == len(parts[1]) > 1
    assert sorted(itertools.chain(*parts[0], *parts[1])) == everything
    # A step of two ranks is done; one goes on.
    kept = [*parts[0][0], *parts[1][0]]
    alone = prepared({"epoch": 0, "done": [[1, 2]]}, max_batch_length=4.0)
    assert sorted(kept + list(itertools.chain(*indices(alone)))) == everything


def on_rank(rank: int, world_size: int) -> Any:
    """A Trainer, as far as a loader asks it."""
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy)


def test_subwords_come_from_the_transcripts_in_the_shards(prepared: Callable[..., LibriSpeech], tmp_path: Path) -> None:
    data = prepared(subwords=40, cache=str(tmp_path), train=["nowhere"])
    assert len(data.vocabulary) == 41
    assert sorted(itertools.chain(*indices(data))) == sorted(itertools.chain(*indices(prepared())))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shard_buffer": 0}, r"data\.batching\.shard_buffer is 0; it must be 1 or more"),
        ({"buckets": 3}, r"data\.batching\.buckets is 3; it does not go with data\.subsets\.shards"),
        (
            {"buckets": [3.0]},
            r"data\.batching\.buckets is \[3\.0\]; it does not go with data\.subsets\.shards",
        ),
        (
            {"batch_ordering": "ascending"},
            r"data\.batching\.batch_ordering is ascending; it does not go with data\.subsets",
        ),
    ],
)
def test_settings_that_do_not_go_with_shards_are_refused(
    make_sharded: Callable[..., LibriSpeech], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_sharded(**settings)


def test_wrong_settings_of_batches_are_named(prepared: Callable[..., LibriSpeech]) -> None:
    with pytest.raises(InputError, match=r"max_batch_ex is 0; .*\(Settings of data\.batching, in seconds at"):
        prepared(max_batch_ex=0).train_dataloader()
    with pytest.raises(InputError, match=r"\.flac: [\d.]+ long, longer than the budget of 0\.3"):
        indices(prepared(max_batch_length=0.3))
    with pytest.raises(InputError, match=r"lengths of utterances in shards .* take BatchLengthFinder out"):
        _ = prepared().batch_length_range


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damage_in_a_shard_is_the_same_message_from_a_worker(
    prepared: Callable[..., LibriSpeech], shards: Path, tmp_path: Path, num_workers: int
) -> None:
    folder = shutil.copytree(shards, tmp_path / "shards")
    shard = folder / "train-small-000001.tar"
    os.truncate(shard, borders(shard)[4][0])
    with pytest.raises(
        InputError, match=rf"^{shard}: it is truncated or damaged at byte [\d,]+\. Get it again"
    ) as raised:
        indices(prepared(shards=pattern(folder), num_workers=num_workers))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_transcript_with_what_is_not_in_the_vocabulary_is_named(
    prepared: Callable[..., LibriSpeech], tmp_path: Path, num_workers: int
) -> None:
    shard = pack(tmp_path / "x.tar", [*GOOD.items(), ("b.flac", FLAC), ("b.txt", b"NO 7")])
    with pytest.raises(InputError, match=rf"^{shard}: b\.flac: its transcript has '7', which is not in the vocabulary"):
        indices(prepared(shards=str(shard), num_workers=num_workers))
