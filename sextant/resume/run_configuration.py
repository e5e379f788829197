"""The configuration of a run, kept in its folder and in its checkpoints."""

from pathlib import Path
from typing import Any

import lightning
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from sextant.atomic_folder import put_in_place
from sextant.lightning_internals import is_fast_dev_run

KEY = "configuration"


class RunConfiguration(Callback):
    """Keep the configuration of a run in its checkpoints, and as a file to start another one from.

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
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = trainer.log_dir  # all processes ask
        if self.file_name is None or folder is None or is_fast_dev_run(trainer) or not trainer.is_global_zero:
            return
        file = Path(folder) / self.file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        text = yaml.safe_dump(self.configuration, sort_keys=False, allow_unicode=True)
        part.write_text(f"# lightning=={lightning.__version__}\n{text}", encoding="utf-8")
        put_in_place(part, file)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.configuration
