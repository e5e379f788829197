"""A callback that does not go with a module or its data is refused before the run, with what it needs."""

from typing import Any

import pytest
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.batch_length_finder import BatchLengthFinder
from callbacks.dynamic_batches import DynamicBatches
from callbacks.generated_text import GeneratedText
from callbacks.recognized_speech import RecognizedSpeech
from callbacks.table_summary import TableSummary
from modules.conformer import SpeechRecognizer
from modules.networks.conformer import ConformerArchitecture
from sextant.errors import InputError


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
