"""The dynamic batches of the training data, reported at the start of training."""

import math
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.utils.data import DataLoader
from typing_extensions import override

from sextant.contracts import Observer, require
from sextant.lightning_internals import datamodule_of, is_fitting
from sextant.samplers.dynamic import DynamicBatchSampler

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@runtime_checkable
class DynamicallyBatchedData(Protocol):
    """Data in dynamic batches, with a budget of padded length."""

    max_batch_length: float


class DynamicBatches(Observer):
    """Report the batches of the training data on the terminal and in TensorBoard.

    TensorBoard gets the summary as text and, as an image, the histogram of the lengths with the edges of the batches.
    Streams are not reported: their lengths are not known beforehand.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if is_fitting(trainer):
            require(datamodule_of(trainer), DynamicallyBatchedData, self)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loader = trainer.train_dataloader
        sampler = loader.sampler if isinstance(loader, DataLoader) else None
        if not trainer.is_global_zero or not isinstance(sampler, DynamicBatchSampler):
            return
        summary = sampler.describe()
        rank_zero_info(f"An epoch has {summary}.")
        if isinstance(trainer.logger, TensorBoardLogger):
            writer = trainer.logger.experiment
            writer.add_text("batches/summary", str(summary), trainer.global_step)
            writer.add_figure("batches/lengths", draw_lengths(sampler), trainer.global_step)


def draw_lengths(sampler: DynamicBatchSampler) -> "Figure":
    """The histogram of the lengths over the edges of the batches: the longest example of each."""
    from matplotlib.figure import Figure

    figure = Figure((8, 4.5), layout="constrained")
    examples, batches = figure.subplots(2, sharex=True, height_ratios=[4, 1])
    examples.hist(sampler.lengths, bins=min(80, 8 + math.isqrt(len(sampler.lengths))))
    examples.set_ylabel("examples")
    edges = sampler.batch_edges()
    batches.vlines(edges, 0, 1, alpha=min(1.0, 100 / len(edges)))
    batches.set(yticks=[], ylabel="batches", xlabel="length (below: of the longest example of each batch)")
    return figure
