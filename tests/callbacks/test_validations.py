"""Where and when a validation is shown in the log."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

from callbacks.epoch_axis import EpochAxis
from callbacks.validations import FirstValidationBatch, shows_validation, spread
from tests.callbacks.small_run import Plain, loader, logged, trainer


class ShowLoss(FirstValidationBatch):
    """Write the loss of the first batch."""

    @override
    def show(self, trainer: Trainer, outputs: Any, batch: Any, step: int) -> None:
        assert isinstance(trainer.logger, TensorBoardLogger)
        trainer.logger.experiment.add_scalar("first/loss", outputs["loss"].item(), step)


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


def test_nothing_is_shown_in_a_sanity_check_or_without_a_log(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Look(FirstValidationBatch):
        @override
        def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
            seen.append(shows_validation(trainer))

    trainer(tmp_path, Look()).fit(Plain(), loader(), loader())
    trainer(tmp_path, Look(), logger=False).validate(Plain(), loader(), verbose=False)
    assert seen == [False, True, False]


@given(st.integers(1, 40), st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_shown_samples_are_spread_over_all_batches(count: int, sizes: list[int]) -> None:
    found = [spread(count, batch, len(sizes), size) for batch, size in enumerate(sizes)]
    assert all(0 <= place < size for places, size in zip(found, sizes, strict=True) for place in places)
    shown = [batch for batch, places in enumerate(found) if places]
    gaps = [b - a for a, b in pairwise([*shown, len(sizes)])]
    assert shown[0] == 0
    assert max(gaps) <= -(-len(sizes) // count)
    if min(sizes) >= count:
        assert sum(map(len, found)) == count


def test_samples_of_a_stream_are_those_of_its_first_batch() -> None:
    assert [spread(3, batch, float("inf"), 9) for batch in range(3)] == [[0, 4, 8], [], []]
