"""The base LightningDataModule: one loader factory, a position that can be resumed, randomness by step."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.lightning_internals import (
    batches_of_epoch,
    epochs_of_run,
    is_last_batch,
    is_overfitting,
    refuse_distributed_sampler,
    tell_epoch_to,
    trainer_of,
)
from sextant.loaders import RepeatedEpoch, ResumableSampler, ResumableStream, TimedDataLoader
from sextant.samplers.fixed.shuffled import ShuffledBatches


class BaseDataModule(LightningDataModule):
    """A DataModule whose runs can be stopped anywhere and resumed exactly.

    Its state is the position in the training data: the epoch, and the steps of it that are done, with the number of
    ranks that did them. The state does not depend on the rank, nor on the number of workers.

    Args:
        num_workers: processes that load data ahead, per training process; 0 loads in the training process.
        seed: seed of the order of samples and of all randomness while training. ``seed_everything`` sets it.

    Raises:
        InputError: ``num_workers`` is negative.

    Batches are dictionaries of tensors; ``index`` int64 (B,) says which samples of the data set they are.
    """

    #: Settings that may differ when a run is resumed, since they do not change what is learned; with a dot where one is
    #: in a group, as in ``prediction.image``.
    free_settings: frozenset[str] = frozenset({"num_workers"})

    #: Settings that give what a model reads and says its meaning, such as the order of columns; written as above. They
    #: are kept with the model: a command that uses a trained one has them from its checkpoint.
    model_settings: frozenset[str] = frozenset()

    #: Samples per step over all processes, where batches have a size.
    batch_size: int

    #: Whether the data was made by us. Runs on synthetic data say so.
    synthetic: bool = False

    #: Mean and deviation of the channels of normalized images, as fractions of 255, where there are images.
    normalization: tuple[Sequence[float], Sequence[float]] | None = None

    def __init__(self, num_workers: int, seed: int) -> None:
        super().__init__()
        if num_workers < 0:
            raise InputError(f"data.num_workers is {num_workers}; it must be 0 (no processes) or more.")
        self.num_workers = num_workers
        self.seed = seed
        self._epoch = 0
        self._done: list[tuple[int, int]] = []  # steps of that epoch before a restart, and how many ranks did them
        self._counted = 0  # steps of that epoch, as Lightning counts them, before a restart

    def loader(
        self,
        dataset: Dataset[Any],
        *,
        training: bool = False,
        order: Callable[..., ResumableSampler] | None = None,
    ) -> TimedDataLoader:
        """Make the loader of a split.

        Args:
            dataset: gives a whole batch for the indices that the sampler gives.
            training: True for the loader that begins at the resumed position.
            order: makes the sampler from ``seed``, ``rank``, ``world_size``, ``epoch`` and ``done`` by name; without
                it, batches of ``batch_size`` are in random order for training and in plain order elsewhere.
        """
        size: int = len(dataset)  # type: ignore[arg-type]
        make = order or partial(ShuffledBatches, size, self.batch_size, shuffle=training)
        position = self._position(training)
        trainer = trainer_of(self)
        if trainer is not None:
            refuse_distributed_sampler(trainer)
        if trainer is not None and is_overfitting(trainer):
            sampler: ResumableSampler = RepeatedEpoch(make, **position)
            _overfit_one_batch_at_least(trainer, training, len(sampler))
        else:
            sampler = make(**position)
        if training and self._done:
            self._counted = max(0, len(sampler) - sampler.remaining)
        return self._timed(dataset, sampler)

    def stream_loader(self, order: Callable[..., ResumableStream]) -> TimedDataLoader:
        """Make the training loader of a stream: it has no length, and begins at the resumed position.

        Args:
            order: makes the stream, an ``IterableDataset`` of whole batches, from ``seed``, ``rank``, ``world_size``,
                ``epoch`` and ``done`` by name.
        """
        if self._repeats():
            raise InputError(
                "--trainer.overfit_batches repeats a few batches, and this data is a stream, which has no beginning to "
                "go back to. Use data that is not in shards, or little of it with --trainer.limit_train_batches."
            )
        stream: Any = order(**self._position(training=True))
        self._counted = sum(steps for steps, _ in self._done)
        loader = self._timed(stream, None)
        tell_epoch_to(loader, stream)
        return loader

    def _repeats(self) -> bool:
        trainer = trainer_of(self)
        return trainer is not None and is_overfitting(trainer)

    def _position(self, training: bool) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "rank": self.trainer.global_rank if self.trainer else 0,
            "world_size": self.trainer.world_size if self.trainer else 1,
            "epoch": self._epoch if training else 0,
            "done": self._done if training else (),
        }

    def _timed(self, dataset: Dataset[Any], sampler: ResumableSampler | None) -> TimedDataLoader:
        return TimedDataLoader(
            dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def require_data(self, stage: str) -> None:
        """Require that the data is there, after ``prepare_data`` and without reading it.

        Before pretrained weights are downloaded, this is asked for.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            InputError: there is no data, and what to do.
        """

    def partial_epoch_steps(self) -> int:
        """How many steps of a partial epoch count as done; 0 if the run stopped between two epochs.

        With the remaining steps they add up to the length of the loader. Where the number of ranks has changed, so may
        have the number of remaining steps, and then this is not the number of steps that were made.
        """
        if self._done:
            self.train_dataloader()
        return self._counted

    def data_spec(self) -> DataSpec:
        """What a model must know of the data, after ``setup``."""
        return DataSpec()

    def calibration_dataloader(self) -> TimedDataLoader:
        """Training samples as a trained model meets them, for the ranges of a quantized one."""
        loader: TimedDataLoader = self.train_dataloader()
        return loader

    def input_description(self) -> dict[str, Any]:
        """How a trained model's inputs are made, for those who use it without this project, as plain values."""
        if self.normalization is None:
            return {}
        mean, std = self.normalization
        return {"mean": list(mean), "std": list(std)}

    def units(self, batch: dict[str, Any]) -> dict[str, float]:
        """What the speed of training is counted in, and how much of it a batch holds.

        The progress bar shows the first.
        """
        return {"samples": len(batch["index"])}

    def running_split(self) -> str:
        """The split that the Trainer's present batches are of: ``train``, ``val``, ``test`` or ``predict``."""
        of = self.trainer
        assert of is not None
        return "predict" if of.predicting else "train" if of.training else "test" if of.testing else "val"

    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        """Names by which a person finds a batch's samples, such as their files; here their indices."""
        return [str(index) for index in batch["index"].tolist()]

    def prediction_example(self) -> list[str]:
        """Arguments that give ``predict`` something to work on, where the data has no samples for it; here none.

        It is asked for after ``setup`` for training.
        """
        return []

    @override
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make what is drawn in a training step a pure function of (seed, epoch, batch, rank)."""
        if self.trainer is not None and self.trainer.training:
            batch_number = batches_of_epoch(self.trainer).ready
            epoch = 0 if self._repeats() else self.trainer.current_epoch
            key = [self.seed, epoch, batch_number, self.trainer.global_rank]
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        return batch

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Hand batches to :meth:`transform`, and give what it makes the number type of the run."""
        if isinstance(batch, dict):  # the model summary sends the module's example input this way too
            batch = self.transform(batch, training=self.trainer is not None and self.trainer.training)
        trainer = trainer_of(self)
        return batch if trainer is None else trainer.precision_plugin.convert_input(batch)

    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        """Change a batch on its device, after the transfer: augment it if ``training``, then normalize."""
        return batch

    @override
    def state_dict(self) -> dict[str, Any]:
        """The position after the last processed batch.

        ``epoch``, and in ``done`` the steps of it that are done: lists of their number and of how many ranks did them.
        """
        if self.trainer is None:
            return self._state(self._epoch, self._done)
        epochs, batch_counts = epochs_of_run(self.trainer), batches_of_epoch(self.trainer)
        epoch, batches, last = epochs.processed, batch_counts.processed, is_last_batch(self.trainer)
        if epochs.started == epoch:
            if last or not batches:  # between two epochs, the count of batches is the last epoch's
                return self._state(epoch, [])
            epoch -= 1  # the run has stopped within it, and Lightning counts it
        elif last and batches == batch_counts.ready:
            return self._state(epoch + 1, [])
        ranks = self.trainer.world_size
        if epoch != self._epoch or not self._done:
            return self._state(epoch, [(batches, ranks)] if batches else [])
        *before, (steps, last_ranks) = self._done
        since = batches - self._counted
        if last_ranks == ranks:
            return self._state(self._epoch, [*before, (steps + since, ranks)])
        return self._state(self._epoch, [*self._done, (since, ranks)] if since else self._done)

    @staticmethod
    def _state(epoch: int, done: Sequence[tuple[int, int]]) -> dict[str, Any]:
        return {"epoch": epoch, "done": [list(steps) for steps in done]}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._epoch = state_dict["epoch"]
        self._done = [(steps, ranks) for steps, ranks in state_dict["done"]]


def _overfit_one_batch_at_least(trainer: Trainer, training: bool, batches: int) -> None:
    """Where a fraction of a loader's batches is less than one, let a run have one of them; Lightning refuses it.

    Args:
        trainer: of a run that is overfitting.
        training: whether they are training batches, and not those of a validation.
        batches: of the loader.
    """
    fraction = trainer.overfit_batches  # type: ignore[attr-defined]
    if isinstance(fraction, float) and int(fraction * batches) == 0:
        setattr(trainer, "limit_train_batches" if training else "limit_val_batches", 1)
