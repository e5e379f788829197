"""Every private or undeclared name of Lightning and torchmetrics that the library leans on."""

from lightning.pytorch import LightningDataModule, Trainer


def datamodule_of(trainer: Trainer) -> LightningDataModule | None:
    """The DataModule of a run, which the Trainer has without declaring it; None if loaders were given instead."""
    return trainer.datamodule  # type: ignore[attr-defined]
