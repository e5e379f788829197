"""Where and when a validation is shown in TensorBoard."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from typing_extensions import override

from callbacks.epoch_axis import EpochAxis
from callbacks.tensorboard import FirstValidationBatch, validation_writer
from tests.callbacks.small_run import Plain, loader, logged, trainer


class ShowLoss(FirstValidationBatch):
    """Write the loss of the first batch."""

    @override
    def show(self, trainer: Trainer, outputs: Any, batch: Any, writer: Any, step: int) -> None:
        writer.add_scalar("first/loss", outputs["loss"].item(), step)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_epochs": 3}, [1, 2, 3]),
        ({"max_epochs": 4, "check_val_every_n_epoch": 2}, [2, 4]),
        ({"max_epochs": 2, "val_check_interval": 1}, [1, 2, 3, 4]),
    ],
)
def test_first_batch_of_each_validation_is_shown_at_its_epoch_or_else_its_step(
    tmp_path: Path, options: dict[str, Any], steps: list[int]
) -> None:
    run = trainer(tmp_path, ShowLoss(), EpochAxis(), limit_val_batches=2, **options)
    run.fit(Plain(), loader(), loader())
    shown = logged(run)
    assert [point.step for point in shown.Scalars("first/loss")] == steps
    assert [point.step for point in shown.Scalars("val/loss")] == steps


def test_nothing_is_shown_in_a_sanity_check_or_without_tensorboard(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Look(FirstValidationBatch):
        @override
        def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
            seen.append(validation_writer(trainer) is not None)

    trainer(tmp_path, Look()).fit(Plain(), loader(), loader())
    trainer(tmp_path, Look(), logger=False).validate(Plain(), loader(), verbose=False)
    assert seen == [False, True, False]
