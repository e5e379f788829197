"""The configuration of a run, kept in its checkpoints."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

KEY = "configuration"


class ConfigurationInCheckpoint(Callback):
    """Keep the configuration of a run in its checkpoints.

    Args:
        configuration: the parsed command line as plain values.
    """

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.configuration
