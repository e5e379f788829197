"""Callbacks with modules and data that they were not made for: they work, or are refused before the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from callbacks.answered_questions import AnsweredQuestions
from callbacks.epoch_axis import EpochAxis
from callbacks.finite_loss import FiniteLoss
from callbacks.gradient_norm import GradientNorm
from callbacks.run_report import RunReport
from callbacks.segmentation_report import SegmentationReport
from callbacks.segmentation_writer import SegmentationWriter
from callbacks.throughput import Throughput
from callbacks.validation_images import ValidationImages
from callbacks.weight_averaging import EMAWeightAveraging
from datamodules.tiny_imagenet import TinyImageNet
from sextant.errors import InputError
from sextant.resume.epoch_metrics import EpochMetrics
from sextant.resume.partial_epoch import PartialEpoch
from train import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
WORKLOADS = {
    "resnet_tiny_imagenet": "TinyImageNet",
    "deeplab_voc": "PascalVOC",
    "flava_textvqa": "TextVQA",
    "transformer_wikitext2": "WikiText2",
    "conformer_librispeech": "LibriSpeech",
    "dlrm_criteo": "Criteo",
}
SHOWN = {  # what each callback shows of a validation, and for which workload
    ValidationImages: ("resnet_tiny_imagenet", "val/images"),
    SegmentationReport: ("deeplab_voc", "val/confusion"),
    AnsweredQuestions: ("flava_textvqa", "val/worst_answers"),
}

Parts = tuple[LightningModule, LightningDataModule]


@pytest.fixture(scope="module")
def parts(small_data: dict[str, list[str]], folder: Path) -> Callable[[str], Parts]:
    """The module and the DataModule of a workload."""
    made: dict[str, Parts] = {}

    def make(workload: str) -> Parts:
        if workload not in made:
            quiet = ["--data.num_workers=0", "--trainer.enable_progress_bar=false", "--trainer.limit_val_batches=0"]
            cli = main(["validate", f"--config={CONFIGS / workload}.yaml", *small_data[WORKLOADS[workload]], *quiet])
            made[workload] = (cli.model, cli.datamodule)
        return made[workload]

    return make


def trainer(folder: Path, *callbacks: Callback) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=1,
        limit_predict_batches=1,
        num_sanity_val_steps=1,
        log_every_n_steps=1,
        logger=TensorBoardLogger(folder),
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


@pytest.mark.parametrize("callback", SHOWN)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_callback_for_validations_shows_its_workload_and_is_refused_for_any_other(
    parts: Callable[[str], Parts], callback: type[Callback], workload: str, tmp_path: Path
) -> None:
    module, data = parts(workload)
    own, tag = SHOWN[callback]
    run = trainer(tmp_path, callback())
    if workload == own:
        run.validate(module, data, verbose=False)
        assert tag in EventAccumulator(str(run.log_dir)).Reload().Tags()["images"]
    else:
        with pytest.raises(InputError, match=f"{callback.__name__} cannot be used with {type(module).__name__}, which"):
            run.validate(module, data, verbose=False)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_masks_are_written_for_segmentation_and_refused_for_any_other(
    parts: Callable[[str], Parts], workload: str, tmp_path: Path
) -> None:
    module, data = parts(workload)
    run = trainer(tmp_path, SegmentationWriter(str(tmp_path / "out")))
    if workload == "deeplab_voc":
        run.predict(module, data)
        assert len(list((tmp_path / "out" / "masks").iterdir())) == 1
    else:
        with pytest.raises(InputError, match=f"SegmentationWriter cannot be used with {type(module).__name__}, which"):
            run.predict(module, data)


def test_callbacks_for_validations_let_any_prediction_pass(parts: Callable[[str], Parts], tmp_path: Path) -> None:
    trainer(tmp_path, *(callback() for callback in SHOWN)).predict(*parts("resnet_tiny_imagenet"))


class Plain(LightningModule):
    """A classifier that knows nothing of the library."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 64 * 64, 10)

    def loss(self, batch: Any) -> Tensor:
        image, label = batch if isinstance(batch, list) else (batch["image"], batch["label"])
        return nn.functional.cross_entropy(self.linear(image.flatten(1)), label)

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch)

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch))

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def shared() -> list[Callback]:
    """The callbacks that every workload has."""
    return [
        FiniteLoss(),
        GradientNorm(),
        EpochMetrics(),
        PartialEpoch(),
        EpochAxis(),
        RunReport(),
        EMAWeightAveraging(),
    ]


def test_plain_module_runs_with_the_callbacks_of_every_workload(
    tiny_imagenet: Path, cache: Path, tmp_path: Path
) -> None:
    data = TinyImageNet(root=str(tiny_imagenet), cache=str(cache), batch_size=16)
    run = trainer(tmp_path, *shared(), Throughput())
    run.fit(Plain(), data)
    assert {"val/loss", "gradient_norm", "throughput/samples_per_second"} <= set(run.logged_metrics)


def test_plain_loaders_do_without_the_callback_that_counts_samples(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(torch.randn(8, 3, 64, 64), torch.arange(8)), batch_size=4)
    run = trainer(tmp_path, *shared())
    run.fit(Plain(), loader, loader)
    assert {"val/loss", "gradient_norm"} <= set(run.logged_metrics)
    with pytest.raises(InputError, match="Throughput cannot be used with a run without a DataModule"):
        trainer(tmp_path, Throughput()).fit(Plain(), loader, loader)


def test_loss_of_plain_loaders_that_is_no_number_stops_the_run_too(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(torch.full((8, 3, 64, 64), torch.nan), torch.arange(8)), batch_size=4)
    with pytest.raises(InputError, match=r"The loss is nan at step 0 \(epoch 0\)"):
        trainer(tmp_path, FiniteLoss()).fit(Plain(), loader)
