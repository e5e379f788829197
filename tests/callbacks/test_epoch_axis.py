"""The axis of epoch metrics."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.epoch_axis import EpochAxis
from tests.callbacks.small_run import Plain, loader, logged, trainer


class LogBoth(Callback):
    """Log something each step, and once an epoch."""

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        pl_module.log("each", 1.0)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("once", 1.0)


def test_epoch_metrics_stand_at_epochs_and_step_metrics_at_steps(tmp_path: Path) -> None:
    run = trainer(tmp_path, LogBoth(), EpochAxis(), max_epochs=3)
    run.fit(Plain(), loader())
    assert [point.step for point in logged(run).Scalars("once")] == [1, 2, 3]
    assert [point.step for point in logged(run).Scalars("each")] == [0, 1, 2, 3, 4, 5]
