"""Metrics that callbacks look at, which are to be measured."""

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.cli.parsing.mistakes import did_you_mean
from sextant.contracts import Observer
from sextant.errors import InputError
from sextant.lightning_internals import callbacks_of

VALIDATION = "val/"


class MonitoredMetrics(Observer):
    """Look before a run whether a validation measures what callbacks choose or stop by.

    Otherwise the mistake would be found after an epoch. It is known where the run begins with a few validation batches
    (``--trainer.num_sanity_val_steps``).

    Raises:
        InputError: it does not.
    """

    @override
    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        measured = [name for name in trainer.callback_metrics if name.startswith(VALIDATION)]
        for callback in callbacks_of(trainer):
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, str) and monitor.startswith(VALIDATION) and measured and monitor not in measured:
                raise InputError(
                    f"{type(callback).__name__}: monitor is {monitor}, which no validation measures. "
                    f"{did_you_mean(monitor, measured, listed=True)}"
                )
