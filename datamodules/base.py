"""What all DataModules share: one loader factory, a position that can be resumed, randomness by step."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.samplers.shuffled import ShuffledBatches
from trainer.errors import InputError


class TimedDataLoader(DataLoader):
    """A DataLoader that adds up the seconds for which the training loop waited for it, in ``waited``."""

    waited: float = 0.0

    @override
    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch


class ResumableDataModule(LightningDataModule):
    """A DataModule whose runs can be stopped anywhere and resumed exactly.

    Its state is the position in the training data: the epoch, and the number of global batches of it that were
    processed. The state does not depend on the rank, nor on the number of ranks or workers.

    Args:
        batch_size: samples per step over all processes.
        num_workers: processes that load data ahead, per training process; 0 loads in the training process.
        seed: seed of the order of samples and of all randomness while training. ``seed_everything`` sets it.

    Raises:
        InputError: ``num_workers`` is negative.

    Batches are dictionaries of tensors; ``index`` int64 (B,) says which samples of the data set they are.
    """

    #: Settings that may differ when a run is resumed, since they do not change what is learned.
    free_settings: frozenset[str] = frozenset({"num_workers"})

    #: What the speed of training is counted in; see :meth:`units`.
    unit: str = "samples"

    #: Whether the data was made by us. Runs on sample data say so.
    sample: bool = False

    def __init__(self, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        if num_workers < 0:
            raise InputError(f"data.num_workers is {num_workers}; it must be 0 (no processes) or more.")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._epoch = 0
        self._batches_done = 0

    def loader(
        self,
        dataset: Dataset,
        *,
        training: bool = False,
        order: Callable[..., ShuffledBatches] | None = None,
        batch_size: int | None = None,
    ) -> TimedDataLoader:
        """Make the loader of a split.

        Args:
            dataset: gives a whole batch for a list of indices.
            training: True for the loader that begins at the resumed position.
            order: makes the sampler from ``size`` and ``batch_size`` and from ``seed``, ``rank``, ``world_size``,
                ``epoch`` and ``start`` by name; without it, the order is random for training and plain elsewhere.
            batch_size: samples per step over all processes, if not the DataModule's own.
        """
        trainer = self.trainer
        make_sampler = order or partial(ShuffledBatches, shuffle=training)
        sampler = make_sampler(
            len(dataset),  # type: ignore[arg-type]
            batch_size or self.batch_size,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            epoch=self._epoch if training else 0,
            start=self._batches_done if training else 0,
        )
        return TimedDataLoader(
            dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
        )

    def units(self, batch: dict[str, Any]) -> int:
        """How many of :attr:`unit` a batch holds."""
        return len(batch["index"])

    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        """The files (or other names by which a person finds them) of a batch's samples."""
        raise NotImplementedError

    @override
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make what is drawn in a training step a pure function of (seed, epoch, batch, rank)."""
        if self.trainer is not None and self.trainer.training:
            progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
            key = [self.seed, self.trainer.current_epoch, progress.ready, self.trainer.global_rank]
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        return batch

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Hand batches to :meth:`transform`."""
        if not isinstance(batch, dict):  # the model summary sends the module's example input this way too
            return batch
        return self.transform(batch, training=self.trainer is not None and self.trainer.training)

    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        """Change a batch on its device, after the transfer: augment it if ``training``, then normalise."""
        return batch

    @override
    def state_dict(self) -> dict[str, int]:
        """The position after the last processed batch: ``epoch`` and ``batches`` of it that are done."""
        if self.trainer is None:
            return {"epoch": self._epoch, "batches": self._batches_done}
        epochs: Any = self.trainer.fit_loop.epoch_progress.current
        batch_progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        batches = batch_progress.processed
        if epochs.started == epochs.processed:  # between two epochs, the count of batches is the last epoch's
            return {"epoch": epochs.processed, "batches": 0}
        if batches >= self.trainer.num_training_batches:
            return {"epoch": epochs.processed + 1, "batches": 0}
        return {"epoch": epochs.processed, "batches": batches}

    @override
    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._epoch = state_dict["epoch"]
        self._batches_done = state_dict["batches"]
