"""Callbacks with modules and data that they were not made for: they work, or are refused before the run."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.batch_length_finder import BatchLengthFinder
from callbacks.dynamic_batches import DynamicBatches
from callbacks.epoch_axis import EpochAxis
from callbacks.finite_loss import FiniteLoss
from callbacks.generated_text import GeneratedText
from callbacks.gradient_norm import GradientNorm
from callbacks.images.answered_questions import AnsweredQuestions
from callbacks.images.segmentation_report import SegmentationReport
from callbacks.images.segmentation_writer import SegmentationWriter
from callbacks.images.validation_images import ValidationImages
from callbacks.recognized_speech import RecognizedSpeech
from callbacks.run_report import RunReport
from callbacks.table_summary import TableSummary
from callbacks.throughput import Throughput
from callbacks.weight_averaging import EMAWeightAveraging
from datamodules.tiny_imagenet import TinyImageNet
from modules.conformer import SpeechRecognizer
from modules.networks.conformer import ConformerArchitecture
from sextant.errors import InputError
from sextant.resume.epoch_metrics import EpochMetrics
from sextant.resume.partial_epoch import PartialEpoch
from tests.callbacks.small_run import Plain, loader, logged, trainer
from tests.workloads.workload import workloads
from train import main

WORKLOADS = {workload.settings["model"]["class_path"]: workload.name for workload in reversed(workloads())}
SHOWN = {  # what each callback shows of a validation, and of which module
    ValidationImages: ("modules.resnet.ImageClassifier", "val/images"),
    SegmentationReport: ("modules.deeplab.SemanticSegmenter", "val/confusion"),
    AnsweredQuestions: ("modules.flava.VisualQuestionAnswerer", "val/worst_answers"),
}

Parts = tuple[LightningModule, LightningDataModule]


@pytest.fixture(scope="module")
def parts(small: Callable[[str], list[str]], folder: Path) -> Callable[[str], Parts]:
    """A module of a class, and the DataModule of its workload."""

    @cache
    def make(kind: str) -> Parts:
        quiet = ["--data.num_workers=0", "--trainer.enable_progress_bar=false", "--trainer.limit_val_batches=0"]
        cli = main(["validate", *small(WORKLOADS[kind]), "--random_weights=true", *quiet])
        return cli.model, cli.datamodule

    return make


@pytest.mark.parametrize("callback", SHOWN)
@pytest.mark.parametrize("kind", WORKLOADS)
def test_callback_for_validations_shows_its_module_and_is_refused_for_any_other(
    parts: Callable[[str], Parts], callback: type[Callback], kind: str, tmp_path: Path
) -> None:
    module, data = parts(kind)
    own, tag = SHOWN[callback]
    run = trainer(tmp_path, callback())
    if kind == own:
        run.validate(module, data, verbose=False)
        assert tag in logged(run).Tags()["images"]
    else:
        with pytest.raises(InputError, match=f"{callback.__name__} cannot be used with {type(module).__name__}, which"):
            run.validate(module, data, verbose=False)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_masks_are_written_for_segmentation_and_refused_for_any_other(
    parts: Callable[[str], Parts], kind: str, tmp_path: Path
) -> None:
    module, data = parts(kind)
    run = trainer(tmp_path, SegmentationWriter(str(tmp_path / "out")))
    if kind == "modules.deeplab.SemanticSegmenter":
        run.predict(module, data)
        assert len(list((tmp_path / "out" / "masks").iterdir())) == 1
    else:
        with pytest.raises(InputError, match=f"SegmentationWriter cannot be used with {type(module).__name__}, which"):
            run.predict(module, loader())


def test_callbacks_for_validations_let_any_prediction_pass(parts: Callable[[str], Parts], tmp_path: Path) -> None:
    trainer(tmp_path, *(callback() for callback in SHOWN)).predict(*parts("modules.resnet.ImageClassifier"))


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


def test_plain_module_runs_with_the_callbacks_of_every_workload(tiny_imagenet: Path, tmp_path: Path) -> None:
    data = TinyImageNet(root=str(tiny_imagenet), cache=str(tmp_path / "cache"), batch_size=16)
    run = trainer(tmp_path, *shared(), Throughput())
    run.fit(Plain(), data)
    assert {"val/loss", "gradient_norm", "throughput/samples_per_second"} <= set(run.logged_metrics)


def test_plain_loaders_do_without_the_callback_that_counts_samples(tmp_path: Path) -> None:
    run = trainer(tmp_path, *shared())
    run.fit(Plain(), loader(), loader())
    assert {"val/loss", "gradient_norm"} <= set(run.logged_metrics)
    with pytest.raises(InputError, match="Throughput cannot be used with a run without a DataModule"):
        trainer(tmp_path, Throughput()).fit(Plain(), loader(), loader())


class NeverStarts(BoringModel):
    """A module that does nothing that a callback could show."""

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        raise AssertionError("the run began")


class Budgeted(LightningDataModule):
    """Data in dynamic batches."""

    max_batch_length = 1.0
    batch_length_range = (1.0, 2.0)

    def probe_batches(self, max_batch_length: float, device: Any) -> Any:
        raise AssertionError("a budget was looked for")

    @override
    def train_dataloader(self) -> DataLoader:
        raise AssertionError("the data was read")


def speech() -> LightningModule:
    return SpeechRecognizer(architecture=ConformerArchitecture(dim=8, num_layers=1, kernel_size=3))


@pytest.mark.parametrize(
    ("callback", "module", "data", "message"),
    [
        (GeneratedText(), NeverStarts, Budgeted, "which has no generate. It needs a module that generates text"),
        (GeneratedText(), speech, Budgeted, "with SpeechRecognizer, which has no generate"),
        (
            RecognizedSpeech(),
            NeverStarts,
            Budgeted,
            "has no transcribe. It needs a module that recognizes speech",
        ),
        (TableSummary(), speech, Budgeted, "which has no table_summary. It needs a module with embedding tables"),
        (
            BatchLengthFinder(1.0),
            speech,
            LightningDataModule,
            "has no batch_length_range, max_batch_length, probe",
        ),
        (DynamicBatches(), NeverStarts, LightningDataModule, "has no max_batch_length. It needs data in dynamic"),
        (BatchLengthFinder(1.0), NeverStarts, Budgeted, "has no optimization, train_metrics. It needs a module"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Callback) else "",
)
def test_callback_that_does_not_go_with_the_run_is_refused_before_it(
    callback: Callback, module: Any, data: Any, message: str
) -> None:
    trainer = Trainer(
        callbacks=[callback], accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    with pytest.raises(InputError, match=message) as error:
        trainer.fit(module(), data())
    name = type(callback).__name__
    assert str(error.value).startswith(f"{name} cannot be used with ")
    advice = f"Take {name} out of trainer.callbacks; if it has settings of its own, set them to null."
    assert str(error.value).endswith(advice)
