"""The configuration of a run, kept in its folder and in its checkpoints."""

from typing import Any

import lightning
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from sextant.atomic_folder import whole_file
from sextant.lightning_internals import is_fast_dev_run, is_fitting
from sextant.logs.drawing import show_run_file
from sextant.logs.kept_folder import kept_folder

KEY = "configuration"


class RunConfiguration(Callback):
    """Keep the configuration of a run in its checkpoints, and as a file to start another one from, also on TensorBoard.

    Args:
        configuration: the parsed command line as plain values.
        file_name: of the file in the run's folder; None for no file.
        ckpt_path: the checkpoint that the command has, which is no part of its configuration.
    """

    def __init__(
        self, configuration: dict[str, Any], file_name: str | None = None, ckpt_path: str | None = None
    ) -> None:
        self.configuration = configuration
        self.file_name = file_name
        self.ckpt_path = ckpt_path

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)
        if self.file_name is not None:
            show_run_file(trainer, self.file_name, self._text())

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_fitting(trainer):
            self._write(trainer)

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        folder = kept_folder(trainer)
        if self.file_name is None or folder is None or is_fast_dev_run(trainer) or not trainer.is_global_zero:
            return
        with whole_file(folder / self.file_name) as part:
            part.write_text(self._text(), encoding="utf-8")

    def _text(self) -> str:
        text = yaml.safe_dump(self.configuration, sort_keys=False, allow_unicode=True)
        return f"# lightning=={lightning.__version__}\n{text}"

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.configuration
