"""LibriSpeech and Mini LibriSpeech as they were published, in dynamic batches."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from typing_extensions import override

from datamodules.sources.archive import Archive, download, extract
from datamodules.speech.corpus import Utterance, read_subset
from datamodules.speech.datasets import ShardedUtterances, Utterances
from datamodules.speech.log_mel import HOP, LogMel, SpeechAugmentation
from datamodules.speech.segments import Segments, list_audio, segments
from datamodules.speech.shards import ShardedUtterance, SpeechShards
from datamodules.speech.tokenizers import ALPHABET, Characters, Pieces
from datamodules.synthetic import librispeech as synthetic_set
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.padding import Padded
from sextant.samplers.dynamic import DynamicBatchSampler, TooLong
from sextant.samplers.stream import DynamicBatchStream

IN_SECONDS = "(Settings of data, in seconds at the slowest of data.speeds.)"
FASTEST = 2  # of data.speeds: a recording has at least a frame at it
TOP = "LibriSpeech"
URL = "https://www.openslr.org/resources"
# Panayotov et al. 2015. Sizes and SHA-256 as torchaudio and TensorFlow Datasets pin them; MD5 from openslr.org/31.
ARCHIVES = {
    "train-clean-5": Archive(
        f"{URL}/31/train-clean-5.tar.gz",
        332_954_390,
        md5="5df7d4e78065366204ca6845bb08f490",
    ),
    "dev-clean-2": Archive(
        f"{URL}/31/dev-clean-2.tar.gz",
        126_046_265,
        md5="6d7ab67ac6a1d2c993d050e16d61080d",
    ),
    "train-clean-100": Archive(
        f"{URL}/12/train-clean-100.tar.gz",
        6_387_309_499,
        sha256="d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    ),
    "train-clean-360": Archive(
        f"{URL}/12/train-clean-360.tar.gz",
        23_049_477_885,
        sha256="146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    ),
    "train-other-500": Archive(
        f"{URL}/12/train-other-500.tar.gz",
        30_593_501_606,
        sha256="ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    ),
    "dev-clean": Archive(
        f"{URL}/12/dev-clean.tar.gz",
        337_926_286,
        sha256="76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    ),
    "dev-other": Archive(
        f"{URL}/12/dev-other.tar.gz",
        314_305_928,
        sha256="12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    ),
    "test-clean": Archive(
        f"{URL}/12/test-clean.tar.gz",
        346_663_984,
        sha256="39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    ),
    "test-other": Archive(
        f"{URL}/12/test-other.tar.gz",
        328_757_843,
        sha256="d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    ),
}


def _length(per_second: float, utterance: ShardedUtterance) -> float:
    return utterance.samples / per_second


class LibriSpeech(BaseDataModule):
    """LibriSpeech (Panayotov et al. 2015, https://www.openslr.org/12), Mini LibriSpeech, or recordings in their layout.

    A subset is a folder with ``<speaker>/<chapter>/<id>.flac`` (or ``.wav``) and ``*.trans.txt``. The recordings are
    never written to; what is known of them is listed in ``cache``.

    Batches are dynamic (:class:`~sextant.samplers.dynamic.DynamicBatchSampler`): utterances of like length, as many
    as ``max_batch_length`` allows, each process its own batch.

    Args:
        root: the folder that holds the subsets.
        download: get the subsets that are published and not there.
        synthetic: use generated recordings instead, words spelled in tones. Figures from them say nothing about
            LibriSpeech.
        cache: folder for manifests, pieces of words and the synthetic set.
        train: subsets for training.
        val: subsets for validation.
        test: subsets for ``test``.
        shards: read the training utterances from WebDataset tar shards instead of ``train``, such as
            ``data/shards/train-clean-5-{000000..000031}.tar``; ``python -m datamodules.speech.shards`` writes them.
            Their batches (:class:`~sextant.samplers.stream.DynamicBatchStream`) are not counted beforehand.
        shard_buffer: how many utterances of shards are held to choose those of like length from.
        audio: for ``predict``, an audio file, or a folder of such: any sample rate and number of channels.
        longest_segment: for ``predict``, seconds; longer files are cut where they are quiet.
        invalid_samples: what to do about recordings that are damaged, too short or of another format: stop
            (``error``), or leave them out with a warning (``skip``).
        sample_rate: of the recordings, per second.
        num_features: mel filters.
        alphabet: the characters of the transcripts, each of which is a label.
        pieces: labels are so many pieces of words, found in the training transcripts, instead of characters; 0 for
            characters.
        max_batch_length: seconds of audio in a batch of one process, padding included, at the slowest of ``speeds``.
        max_batch_ex: the most utterances in a batch.
        padding: the share of padding to aim at in training, in [0, 1); 0.03 if neither this nor buckets are given. For
            shards it follows from ``shard_buffer`` instead.
        buckets: instead of padding, a number of buckets of lengths, fitted to the data (1 is fully random), or their
            upper edges in seconds.
        quadratic: seconds at which attention costs as much as everything else; evens the ranks' work out.
        batch_ordering: of the batches of a training epoch.
        too_long: what to do about training utterances beyond the budget: stop (``error``), leave them out with a
            warning (``drop``), make each a batch of its own with a warning (``warn``) or without (``alone``).
        num_workers: processes that read recordings ahead, per training process; 0 reads in the training process.
        seed: seed of the order and of what is changed at random; set by ``seed_everything``.
        speeds: factors of speed between 0.5 and 2, of which each training batch draws one; empty for none.
        time_masks: masks over time in each training utterance (SpecAugment).
        time_mask_width: the most frames of 10 ms in such a mask.
        time_mask_share: the largest share of the batch's longest utterance in such a mask.
        feature_masks: masks over mel filters in each training utterance.
        feature_mask_width: the most filters in such a mask.

    Batch: ``features``, a pair of float (B, T, num_features), frames of 10 ms, and their numbers int64 (B,);
    ``labels``, a pair of int64 (B, U) and their numbers int64 (B,); ``text`` and ``id``, lists of B texts; ``index``
    int64 (B,). In ``predict``: ``features``; ``start`` and ``end`` float64 (B,), in seconds; ``frame_seconds``.
    """

    free_settings = BaseDataModule.free_settings | {
        "root", "download", "cache", "audio", "longest_segment", "invalid_samples"
    }  # fmt: skip

    def __init__(
        self,
        root: str = "data/LibriSpeech",
        download: bool = False,
        synthetic: bool = False,
        cache: str = "data/cache",
        train: Sequence[str] = ("train-clean-5",),
        val: Sequence[str] = ("dev-clean-2",),
        test: Sequence[str] = ("test-clean",),
        shards: str | None = None,
        shard_buffer: int = 2000,
        audio: str | None = None,
        longest_segment: float = 30.0,
        invalid_samples: Literal["error", "skip"] = "error",
        sample_rate: int = 16000,
        num_features: int = 80,
        alphabet: str = ALPHABET,
        pieces: int = 0,
        max_batch_length: float = 200.0,
        max_batch_ex: int | None = None,
        padding: float | None = None,
        buckets: int | list[float] | None = None,
        quadratic: float | None = None,
        batch_ordering: Literal["random", "ascending", "descending"] = "random",
        too_long: TooLong = "error",
        num_workers: int = 0,
        seed: int = 0,
        speeds: Sequence[float] = (0.9, 1.0, 1.1),
        time_masks: int = 5,
        time_mask_width: int = 100,
        time_mask_share: float = 0.05,
        feature_masks: int = 2,
        feature_mask_width: int = 27,
    ) -> None:
        super().__init__(num_workers, seed)
        self.cache = Path(cache)
        self.root = self.cache / synthetic_set.FOLDER if synthetic else Path(root)
        self.download = download
        self.synthetic = synthetic
        self.subsets = {"train": train, "val": val, "test": test}
        if synthetic:
            self.subsets = {"train": ["train-tones"], "val": ["dev-tones"], "test": ["test-tones"]}
        self.shards = shards
        self.shard_buffer = shard_buffer
        if shards is not None:
            self.subsets["train"] = []
        self.audio = None if audio is None else Path(audio)
        self.longest_segment = longest_segment
        self.invalid_samples = invalid_samples
        self.sample_rate = sample_rate
        self.alphabet = alphabet
        self.pieces = pieces
        self.max_batch_length = self._given_batch_length = max_batch_length
        self.batching: dict[str, Any] = {
            "max_batch_ex": max_batch_ex,
            "padding": padding,
            "buckets": buckets,
            "quadratic": quadratic,
            "batch_ordering": batch_ordering,
            "too_long": too_long,
        }
        for key, value, allowed in (
            ("num_features", num_features, num_features > 0),
            ("max_batch_length", max_batch_length, max_batch_length > 0),
        ):
            if not allowed:
                raise InputError(f"data.{key} is {value}; it must be above 0.")
        for key, number, least, most in (
            ("sample_rate", sample_rate, 4000, 192_000),
            ("longest_segment", longest_segment, 1, 3600),
            *(("speeds", speed, 1 / FASTEST, FASTEST) for speed in speeds),
        ):
            if not least <= number <= most:
                raise InputError(f"data.{key} is {number}; it must be between {least:g} and {most:g}.")
        for key, count in (("pieces", pieces), ("time_masks", time_masks), ("feature_masks", feature_masks)):
            if count < 0:
                raise InputError(f"data.{key} is {count}; it must be 0 (none) or more.")
        for key, width in (("time_mask_width", time_mask_width), ("feature_mask_width", feature_mask_width)):
            if width < 1:
                raise InputError(f"data.{key} is {width}; it must be 1 or more.")
        if shard_buffer < 1:
            raise InputError(f"data.shard_buffer is {shard_buffer}; it must be 1 or more.")
        for key, default in (("buckets", None), ("batch_ordering", "random")):
            if shards is not None and self.batching[key] != default:
                raise InputError(
                    f"data.{key} is {self.batching[key]}; it does not go with data.shards, whose lengths are not known "
                    "beforehand. Leave it out."
                )
        if not 0 < time_mask_share <= 1:
            raise InputError(f"data.time_mask_share is {time_mask_share}; it must be above 0 and at most 1.")
        self.slowest = min(speeds, default=1.0)
        #: The labels, by number; empty until transcripts were read.
        self.vocabulary: list[str] = []
        self._sets: dict[str, Utterances | Segments] = {}
        self._sharded: ShardedUtterances | None = None
        self.num_features = num_features
        self._log_mel = LogMel(sample_rate, num_features)
        masks = (time_masks, time_mask_width, time_mask_share, feature_masks, feature_mask_width)
        self._shortest = FASTEST * self._log_mel.window
        self._augmentation = SpeechAugmentation(sample_rate, speeds, *masks)
        self._masks = masks

    @override
    def prepare_data(self) -> None:
        """Make the synthetic set, or download, verify and extract the published subsets that are not there.

        Raises:
            InputError: a download failed.
        """
        if self.synthetic:
            synthetic_set.make(self.root)
        elif self.download:
            for subset in {name for names in self.subsets.values() for name in names}:
                if subset in ARCHIVES and not (self.root / subset).exists():
                    archive = self.root.parent / f"{subset}.tar.gz"
                    download(ARCHIVES[subset], archive)
                    extract(archive, self.root / subset, f"{TOP}/{subset}")

    @override
    def setup(self, stage: str) -> None:
        """Read the subsets that ``stage`` needs, or the audio to recognize.

        Raises:
            InputError: a recording or a transcript is missing, damaged, empty or cannot be spelt.
        """
        if stage == "predict":
            if self.audio is None:
                raise InputError("There is nothing to recognize: give an audio file or a folder with --data.audio=...")
            shortest = self._log_mel.window / self.sample_rate
            parts = segments(list_audio(self.audio), self.longest_segment, shortest)
            self._sets["predict"] = Segments(parts, self.sample_rate)
            return
        train: list[tuple[Path, Utterance]] = []
        shards: SpeechShards | None = None
        if stage == "fit" or self.pieces:
            if self.shards is None:
                train = self._read("train")
            else:
                shards = SpeechShards(self.shards, self.sample_rate, self._shortest)
        spelling: Characters | Pieces
        if self.pieces:
            transcripts = shards.transcripts() if shards else [utterance.transcript for _, utterance in train]
            spelling = Pieces(transcripts, self.pieces, self.cache, self.alphabet)
        else:
            spelling = Characters(self.alphabet)
        self.vocabulary = spelling.vocabulary
        if shards:
            self._sharded = ShardedUtterances(shards, spelling)
        elif stage == "fit":
            self._sets["train"] = Utterances(train, spelling)
        split = "test" if stage == "test" else "val"
        self._sets[split] = Utterances(self._read(split), spelling)

    def _read(self, split: str) -> list[tuple[Path, Utterance]]:
        found = []
        for subset in self.subsets[split]:
            folder = self.root / subset
            listed = read_subset(folder, self.cache, self.sample_rate, self._shortest, self.invalid_samples)
            hours = sum(utterance.samples for utterance in listed) / self.sample_rate / 3600
            rank_zero_info(f"{folder}: {len(listed):,} utterances, {hours:.2f} hours")
            found += [(folder, utterance) for utterance in listed]
        if not found:
            raise InputError(f"data.{split} names no subset. Give at least one: --data.{split}=[dev-clean-2]")
        return found

    def _seconds(self, split: str) -> np.ndarray:
        """The lengths of a split's utterances, float64 (N,)."""
        if split == "train" and self._sharded:
            raise InputError(
                "The lengths of utterances in shards (data.shards) are not known beforehand, so no budget can be found "
                "for them. Give data.max_batch_length, and take BatchLengthFinder out of trainer.callbacks."
            )
        dataset = self._sets[split]
        if isinstance(dataset, Segments):
            return dataset.seconds
        return np.array([utterance.samples for _, utterance in dataset.utterances]) / self.sample_rate

    def data_spec(self) -> DataSpec:
        """The labels of CTC, which ``predict`` does not read, and the features of a frame."""
        return DataSpec(labels=tuple(self.vocabulary), input_sizes={"num_features": self.num_features})

    @override
    def input_description(self) -> dict[str, Any]:
        """How recordings become features."""
        return {"sample_rate": self.sample_rate, "features": self._log_mel.description()}

    @override
    def train_dataloader(self) -> TimedDataLoader:
        if self._sharded:
            return self.stream_loader(partial(self._stream, self._sharded))
        return self.loader(self._sets["train"], training=True, order=self.training_batches)

    def _stream(self, dataset: ShardedUtterances, **position: Any) -> DynamicBatchStream[ShardedUtterance]:
        """The training batches of shards, as :meth:`training_batches` has them of subsets."""
        try:
            return DynamicBatchStream(
                partial(dataset.shards.stream, self.seed),
                partial(_length, self.sample_rate * self.slowest),
                dataset.batch,
                self.max_batch_length,
                buffer=self.shard_buffer,
                **{key: self.batching[key] for key in ("max_batch_ex", "quadratic", "too_long")},
                **position,
            )
        except InputError as error:
            raise InputError(f"{error} {IN_SECONDS}") from None

    def training_batches(self, **position: Any) -> DynamicBatchSampler:
        """The sampler of the training utterances.

        Args:
            position: ``seed``, ``epoch``, ``done``, ``rank`` and ``world_size``.
        """
        try:
            return DynamicBatchSampler(
                self._seconds("train") / self.slowest, self.max_batch_length, **self.batching | position
            )
        except InputError as error:
            raise InputError(f"{error} {IN_SECONDS}") from None

    @property
    def batch_length_range(self) -> tuple[float, float]:
        """The least ``max_batch_length`` that every training utterance fits into, and the most that is ever filled."""
        longest = float(self._seconds("train").max() / self.slowest)
        if quadratic := self.batching["quadratic"]:
            longest += longest**2 / quadratic
        return longest, longest * min(len(self._sets["train"]), self.batching["max_batch_ex"] or math.inf)

    def probe_batches(self, max_batch_length: float, device: torch.device) -> Iterator[dict[str, Any]]:
        """The training batches of a budget that take the most memory, as :meth:`transform` gives them.

        They are those with the most seconds times length (attention), seconds, and utterances, at the slowest speed.

        Args:
            max_batch_length: the budget.
            device: where to.
        """
        slowest = SpeechAugmentation(self.sample_rate, [self.slowest], *self._masks)
        lengths = self._seconds("train") / self.slowest
        batches = list(DynamicBatchSampler(lengths, max_batch_length, **self.batching, shuffle=False))
        sizes = np.array([len(batch) for batch in batches])
        longest = np.array([lengths[batch].max() for batch in batches])
        for place in dict.fromkeys(int((sizes * longest**power).argmax()) for power in (2, 1, 0)):
            batch = self.transfer_batch_to_device(self._sets["train"][batches[place]], device, 0)
            yield self._features(batch, slowest)

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
        options = {"max_batch_ex": self.batching["max_batch_ex"], "shuffle": False, "too_long": "alone"}
        order = partial(DynamicBatchSampler, self._seconds(split), self.max_batch_length, **options)
        return self.loader(self._sets[split], order=order)

    @override
    def transform(self, batch: dict[str, Any], training: bool) -> dict[str, Any]:
        return self._features(batch, self._augmentation if training else None)

    def _features(self, batch: dict[str, Any], augmentation: SpeechAugmentation | None) -> dict[str, Any]:
        audio, lengths = batch["audio"]
        log_mel = self._log_mel.to(audio.device)
        if augmentation:
            audio, lengths = augmentation.to(audio.device).change_speed(audio, lengths)
        features, frames = log_mel(audio, lengths)
        if augmentation:
            features = augmentation.mask(features)
        rest = {key: value for key, value in batch.items() if key != "audio"}
        return rest | {"features": Padded(features, frames), "frame_seconds": log_mel.hop / self.sample_rate}

    @override
    def units(self, batch: dict[str, Any]) -> dict[str, float]:
        frames: Tensor = batch["features"][1]
        return {"audio_seconds": frames.sum().item() * HOP, "utterances": len(frames)}

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        assert self.trainer is not None
        if self.trainer.predicting:
            found = self._sets["predict"]
            assert isinstance(found, Segments)
            return [str(found.parts[i].file) for i in batch["index"].tolist()]
        if self.trainer.training and self._sharded:
            return [str(self._sharded.shards.path(i)) for i in batch["index"].tolist()]
        dataset = self._sets["train" if self.trainer.training else "test" if self.trainer.testing else "val"]
        assert isinstance(dataset, Utterances)
        return [str(dataset.path(i)) for i in batch["index"].tolist()]

    @override
    def state_dict(self) -> dict[str, Any]:
        """The position, and where another budget is used than was given, both of them in ``max_batch_length``."""
        if self.max_batch_length == self._given_batch_length:
            return super().state_dict()
        budgets = {"given": self._given_batch_length, "used": self.max_batch_length}
        return super().state_dict() | {"max_batch_length": budgets}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        budgets = state_dict.get("max_batch_length", {})
        # A command that gives another budget than the one before, and says that its settings hold, is followed.
        used = budgets.get("given") == self._given_batch_length
        self.max_batch_length = budgets["used"] if used else self._given_batch_length
        if used:
            rank_zero_info(f"max_batch_length is {self.max_batch_length}, as was found at the start of the run.")
