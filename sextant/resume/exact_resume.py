"""Exact resume for a Trainer that is not made by the command line."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback

from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.resume.epoch_metrics import EpochMetrics
from sextant.resume.optimizer_settings import OptimizerSettings
from sextant.resume.partial_epoch import PartialEpoch
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint


def exact_resume(
    callbacks: Sequence[Callback] = (),
    every_n_steps: int = 0,
    every_n_minutes: float = 10.0,
    keep_epochs: list[int] | None = None,
) -> dict[str, Any]:
    """Arguments with which a plain ``lightning.Trainer`` resumes exactly: ``Trainer(..., **exact_resume())``.

    The data must be a :class:`~sextant.datamodule.BaseDataModule`, which keeps its position in the checkpoint. What is
    resumed is ``trainer.fit(..., ckpt_path=RecoveryCheckpoint.folder(trainer) / "last.ckpt")``.

    Args:
        callbacks: further ones.
        every_n_steps: also write ``last.ckpt`` after so many optimizer steps; 0 does not.
        every_n_minutes: also write it when the last one is so old; 0 does not.
        keep_epochs: keep ``epoch=NNN.ckpt`` after these epochs, counted from 1.
    """
    return {
        "callbacks": [
            *callbacks,
            EpochMetrics(),
            PartialEpoch(),
            OptimizerSettings(),
            RecoveryCheckpoint(every_n_steps, every_n_minutes, keep_epochs),
        ],
        "plugins": [AtomicCheckpointIO()],
        "use_distributed_sampler": False,  # the loaders of a BaseDataModule give each process its own samples
    }
