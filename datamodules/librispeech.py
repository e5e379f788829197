"""LibriSpeech and Mini LibriSpeech as they were published, in dynamic batches."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from typing_extensions import override

from datamodules.speech.augmentation import FASTEST, Augmentation, SpeechAugmentation
from datamodules.speech.batching import Batching
from datamodules.speech.corpus import Utterance, read_subset
from datamodules.speech.datasets import ShardedUtterances, Utterances
from datamodules.speech.log_mel import HOP, Features, LogMel
from datamodules.speech.segments import Prediction, Segments
from datamodules.speech.shards import ShardedUtterance, SpeechShards
from datamodules.speech.subsets import Subsets
from datamodules.speech.tokenizers import Tokenization
from datamodules.synthetic import librispeech as synthetic_set
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.memory import keep_few_shapes
from sextant.padding import Padded
from sextant.samplers.dynamic import DynamicBatchSampler
from sextant.samplers.stream import DynamicBatchStream


def _seconds(per_second: float, utterance: ShardedUtterance) -> float:
    return utterance.samples / per_second


class LibriSpeech(BaseDataModule):
    """LibriSpeech (Panayotov et al. 2015, https://www.openslr.org/12), Mini LibriSpeech, or recordings in their layout.

    A subset is a folder with ``<speaker>/<chapter>/<id>.flac`` (or of another format) and ``*.trans.txt``. The
    recordings are never written to; what is known of them is listed in ``cache``.

    Batches are dynamic (:class:`~sextant.samplers.dynamic.DynamicBatchSampler`): utterances of like length, as many
    as ``batching.max_batch_length`` allows, each process its own batch.

    Args:
        root: the folder that holds the subsets.
        download: get the subsets that are published and not there.
        synthetic: use generated recordings instead, words spelled in tones. Figures from them say nothing about
            LibriSpeech.
        cache: folder for manifests, subwords and the synthetic set.
        subsets: the subsets for training, validation and tests.
        prediction: the audio that ``predict`` recognizes.
        invalid_samples: what to do about recordings, also those to recognize, that are damaged, too short or of
            another format: stop (``error``), or leave them out with a warning (``skip``).
        features: what is computed of recordings.
        tokenizer: the labels that transcripts are made of.
        batching: the size of batches, and how alike the lengths in one are.
        augmentation: the random changes of training utterances.
        num_workers: processes that read recordings ahead, per training process; 0 reads in the training process.
        seed: seed of the order and of the random changes; set by ``seed_everything``.

    Batch: ``features``, a pair of float (B, T, num_features), frames of 10 ms, and their lengths int64 (B,);
    ``labels``, a pair of int64 (B, U) and their lengths int64 (B,); ``text`` and ``id``, lists of B texts; ``index``
    int64 (B,). In ``predict``: ``features``; ``start`` and ``end`` float64 (B,), in seconds; ``frame_seconds``.
    """

    free_settings = BaseDataModule.free_settings | {"root", "download", "cache", "prediction", "invalid_samples"}
    model_settings = frozenset({"features", "tokenizer"})

    def __init__(
        self,
        root: str = "data/LibriSpeech",
        download: bool = False,
        synthetic: bool = False,
        cache: str = "data/cache",
        subsets: Subsets | None = None,
        prediction: Prediction | None = None,
        invalid_samples: Literal["error", "skip"] = "error",
        features: Features | None = None,
        tokenizer: Tokenization | None = None,
        batching: Batching | None = None,
        augmentation: Augmentation | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers, seed)
        keep_few_shapes()
        self.cache = Path(cache)
        self.root = self.cache / synthetic_set.FOLDER if synthetic else Path(root)
        self.download = download
        self.synthetic = synthetic
        self.subsets = subsets or Subsets()
        if synthetic:
            self.subsets = replace(self.subsets, train=["train-tones"], val=["dev-tones"], test=["test-tones"])
        self.prediction = prediction or Prediction()
        self.invalid_samples = invalid_samples
        self.features = features or Features()
        self.tokenization = tokenizer or Tokenization()
        self.batching = batching or Batching()
        if self.subsets.shards is not None:
            self.batching.require_stream()
        self.augmentation = augmentation or Augmentation()
        #: The budget of a batch that is used: the setting, or what was found at the start of the run.
        self.max_batch_length = self.batching.max_batch_length
        #: The labels by their ids; empty until transcripts were read.
        self.vocabulary: list[str] = []
        self._sets: dict[str, Utterances | Segments] = {}
        self._sharded: ShardedUtterances | None = None
        self._log_mel = LogMel(self.features.sample_rate, self.features.num_features)
        self._augment = SpeechAugmentation(self.features.sample_rate, self.augmentation)
        self._shortest = FASTEST * self._log_mel.window

    @override
    def prepare_data(self) -> None:
        """Make the synthetic set, or download, verify and extract the published subsets that are not there.

        Raises:
            InputError: a download failed.
        """
        if self.synthetic:
            synthetic_set.make(self.root)
        elif self.download:
            self.subsets.download(self.root)

    @override
    def setup(self, stage: str) -> None:
        """Read the subsets that ``stage`` needs, or the audio to recognize.

        Raises:
            InputError: a recording or a transcript is missing, damaged or empty, or has what is not in the vocabulary.
        """
        sample_rate = self.features.sample_rate
        if stage == "predict":
            parts = self.prediction.segments(self._log_mel.window / sample_rate, self.invalid_samples)
            self._sets["predict"] = Segments(parts, sample_rate)
            return
        train: list[tuple[Path, Utterance]] = []
        shards: SpeechShards | None = None
        if stage == "fit" or self.tokenization.subwords:
            if self.subsets.shards is None:
                train = self._read("train")
            else:
                shards = SpeechShards(self.subsets.shards, sample_rate, self._shortest)
        transcripts = [utterance.transcript for _, utterance in train]
        if shards and self.tokenization.subwords:
            transcripts = shards.transcripts()
        tokenizer = self.tokenization.tokenizer(transcripts, self.cache)
        self.vocabulary = tokenizer.vocabulary
        if shards:
            self._sharded = ShardedUtterances(shards, tokenizer)
        elif stage == "fit":
            self._sets["train"] = Utterances(train, sample_rate, tokenizer)
        split = "test" if stage == "test" else "val"
        self._sets[split] = Utterances(self._read(split), sample_rate, tokenizer)

    def _read(self, split: str) -> list[tuple[Path, Utterance]]:
        sample_rate = self.features.sample_rate
        found = []
        for subset in self.subsets.folders[split]:
            folder = self.root / subset
            listed = read_subset(folder, self.cache, sample_rate, self._shortest, self.invalid_samples)
            hours = sum(utterance.samples for utterance in listed) / sample_rate / 3600
            rank_zero_info(f"{folder}: {len(listed):,} utterances, {hours:.2f} hours")
            found += [(folder, utterance) for utterance in listed]
        if not found:
            raise InputError(
                f"data.subsets.{split} names no subset. Give at least one: --data.subsets.{split}=[dev-clean-2]"
            )
        return found

    @override
    def data_spec(self) -> DataSpec:
        """The labels of CTC, which ``predict`` does not read, and the features of a frame."""
        return DataSpec(labels=tuple(self.vocabulary), input_sizes={"num_features": self.features.num_features})

    @override
    def input_description(self) -> dict[str, Any]:
        """How recordings become features."""
        return {"sample_rate": self.features.sample_rate, "features": self._log_mel.description()}

    @override
    def train_dataloader(self) -> TimedDataLoader:
        if self._sharded:
            return self.stream_loader(partial(self._stream, self._sharded))
        return self.loader(self._sets["train"], training=True, order=self.training_batches)

    def _stream(self, dataset: ShardedUtterances, **position: Any) -> DynamicBatchStream[ShardedUtterance]:
        """The training batches of shards, as :meth:`training_batches` has them of subsets."""
        return self.batching.stream(
            partial(dataset.shards.stream, self.seed),
            partial(_seconds, self.features.sample_rate * self.augmentation.slowest),
            dataset.batch,
            self.max_batch_length,
            **position,
        )

    def training_batches(self, **position: Any) -> DynamicBatchSampler:
        """The sampler of the training utterances.

        Args:
            position: ``seed``, ``epoch``, ``done``, ``rank`` and ``world_size``.
        """
        return self.batching.sampler(self.training_seconds(), self.max_batch_length, **position)

    def training_seconds(self) -> np.ndarray:
        """The lengths of the training utterances at the slowest speed, float64 (N,).

        Raises:
            InputError: they are in shards, whose lengths are not known beforehand.
        """
        if self._sharded:
            raise InputError(
                "The lengths of utterances in shards (data.subsets.shards) are not known beforehand, so no budget can "
                "be found for them. Give data.batching.max_batch_length, and take BatchLengthFinder out of "
                "trainer.callbacks."
            )
        return self._sets["train"].seconds() / self.augmentation.slowest

    @property
    def batch_length_range(self) -> tuple[float, float]:
        """The least ``max_batch_length`` that every training utterance fits into, and the most that is ever filled."""
        return self.batching.length_range(self.training_seconds())

    def probe_batches(self, max_batch_length: float, device: torch.device) -> Iterator[dict[str, Any]]:
        """The training batches of a budget that take the most memory, as :meth:`transform` gives them.

        Args:
            max_batch_length: the budget, in seconds.
            device: where to.
        """
        slowest = replace(self.augmentation, speeds=[self.augmentation.slowest])
        augment = SpeechAugmentation(self.features.sample_rate, slowest)
        for indices in self.batching.largest_batches(self.training_seconds(), max_batch_length):
            yield self._features(self.transfer_batch_to_device(self._sets["train"][indices], device, 0), augment)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self._evaluation_loader("val")

    @override
    def test_dataloader(self) -> TimedDataLoader:
        return self._evaluation_loader("test")

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self._evaluation_loader("predict")

    def _evaluation_loader(self, split: str) -> TimedDataLoader:
        dataset = self._sets[split]
        order = partial(self.batching.evaluation_sampler, dataset.seconds(), self.max_batch_length)
        return self.loader(dataset, order=order)

    @override
    def transform(self, batch: dict[str, Any], training: bool) -> dict[str, Any]:
        return self._features(batch, self._augment if training else None)

    def _features(self, batch: dict[str, Any], augment: SpeechAugmentation | None) -> dict[str, Any]:
        audio, lengths = batch["audio"]
        log_mel = self._log_mel.to(audio.device)
        if augment:
            audio, lengths = augment.to(audio.device).change_speed(audio, lengths)
        features, frames = log_mel(audio, lengths)
        if augment:
            features = augment.mask(features)
        others = {key: value for key, value in batch.items() if key != "audio"}
        seconds = log_mel.hop / self.features.sample_rate
        return others | {"features": Padded(features, frames), "frame_seconds": seconds}

    @override
    def units(self, batch: dict[str, Any]) -> dict[str, float]:
        frames: Tensor = batch["features"][1]
        return {"audio_seconds": frames.sum().item() * HOP, "utterances": len(frames)}

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        split = self.running_split()
        indices = batch["index"].tolist()
        if split == "train" and self._sharded:
            return [str(self._sharded.shards.path(i)) for i in indices]
        dataset = self._sets[split]
        return [str(dataset.path(i)) for i in indices]

    @override
    def state_dict(self) -> dict[str, Any]:
        """The position, and where another budget is used than was given, both of them in ``max_batch_length``."""
        given = self.batching.max_batch_length
        if self.max_batch_length == given:
            return super().state_dict()
        return super().state_dict() | {"max_batch_length": {"given": given, "used": self.max_batch_length}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        given = self.batching.max_batch_length
        budgets = state_dict.get("max_batch_length", {})
        # A command that gives another budget than the one before, and says that its settings hold, is followed.
        used = budgets.get("given") == given
        self.max_batch_length = budgets["used"] if used else given
        if used:
            rank_zero_info(f"max_batch_length is {self.max_batch_length}, as was found at the start of the run.")

    @override
    def prediction_example(self) -> list[str]:
        utterances = self._sets["val"]
        assert isinstance(utterances, Utterances)
        return [f"--data.prediction.audio={utterances.path(0)}"]
