"""The dynamic batches of the training data, reported at the start of training."""

import math
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.card import DPI, INCHES, POINTS
from callbacks.terminal.text import say, wrapped
from sextant.contracts import Observer, require
from sextant.lightning_internals import datamodule_of, is_fitting
from sextant.logs.drawing import can_draw, draw_figure, draw_text
from sextant.samplers.dynamic import DynamicBatchSampler

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@runtime_checkable
class DynamicallyBatchedData(Protocol):
    """Data in dynamic batches, with a budget of padded length."""

    max_batch_length: float


class DynamicBatches(Observer):
    """Report the batches of the training data on the terminal and in the log.

    The log gets the summary as text and, as an image, the histogram of the lengths with the edges of the batches: those
    of the first epoch, once, also where the run is gone on with.
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
        say([wrapped(f"An epoch has {summary}.")])
        if can_draw(trainer) and not trainer.global_step:
            draw_text(trainer, "batches/summary", str(summary), trainer.global_step)
            draw_figure(trainer, "batches/lengths", draw_lengths(sampler), trainer.global_step)


def draw_lengths(sampler: DynamicBatchSampler) -> "Figure":
    """The histogram of the lengths over the edges of the batches: the longest example of each."""
    from matplotlib.figure import Figure

    figure = Figure((INCHES, 0.7 * INCHES), dpi=DPI, layout="constrained")
    examples, batches = figure.subplots(2, sharex=True, height_ratios=[4, 1])
    examples.hist(sampler.lengths, bins=min(80, 8 + math.isqrt(len(sampler.lengths))))
    examples.set_ylabel("examples", fontsize=POINTS)
    edges = sampler.batch_edges()
    batches.vlines(edges, 0, 1, alpha=min(1.0, 100 / len(edges)))
    batches.set_yticks([])
    batches.set_ylabel("batches", fontsize=POINTS)
    batches.set_xlabel("length (of the longest of each batch)", fontsize=POINTS)
    for axes in (examples, batches):
        axes.tick_params(labelsize=POINTS)
    return figure
