"""Losses that are no numbers."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.finite_loss import FiniteLoss
from datamodules.tiny_imagenet import TinyImageNet
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint
from tests.callbacks.small_run import Plain, loader, trainer


class Poison(Callback):
    """Fill the images of step 7 with a value."""

    def __init__(self, value: float) -> None:
        self.value = value

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 7:
            batch["image"].fill_(self.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_no_number_stops_the_run_with_step_files_and_last_good_checkpoint(
    tiny_imagenet: Path, cache: Path, tmp_path: Path, value: float
) -> None:
    torch.manual_seed(0)
    data = TinyImageNet(root=str(tiny_imagenet), cache=str(cache), batch_size=16)
    callbacks = (Poison(value), FiniteLoss(), RecoveryCheckpoint(every_n_steps=1))
    options = {"max_epochs": 2, "limit_train_batches": 5, "num_sanity_val_steps": 0, "enable_checkpointing": True}
    with pytest.raises(InputError) as error:
        trainer(tmp_path, *callbacks, plugins=[AtomicCheckpointIO()], **options).fit(Plain(), data)
    message = str(error.value)
    assert "The loss is nan at step 7 (epoch 1)" in message
    (last,) = tmp_path.glob("lightning_logs/*/checkpoints/last.ckpt")
    assert f"The last good checkpoint is {last}" in message
    assert message.count(".JPEG") == 16
    saved = torch.load(last, weights_only=True)
    assert saved["global_step"] == 7
    assert all(value.isfinite().all() for value in saved["state_dict"].values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_of_plain_loaders_stops_the_run_without_names(tmp_path: Path, value: float) -> None:
    with pytest.raises(InputError, match=r"The loss is nan at step 0 \(epoch 0\)"):
        trainer(tmp_path, FiniteLoss()).fit(Plain(), loader(value))


class Overflowing(Plain):
    """Its loss, which is above 0, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    @override
    def loss(self, batch: Any) -> Tensor:
        return self.factor * super().loss(batch)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_loss_stops_the_run_as_well(tmp_path: Path, value: float) -> None:
    with pytest.raises(InputError, match=rf"The loss is {value} at step 0 \(epoch 0\)"):
        trainer(tmp_path, FiniteLoss()).fit(Overflowing(value), loader())
