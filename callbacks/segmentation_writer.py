"""Write predicted masks as picture files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from PIL import Image
from torch import Tensor
from typing_extensions import override

from callbacks.coloured_masks import add_legend, choose_colours, index_mask, overlay
from trainer.errors import InputError

KINDS = ("masks", "coloured", "overlays")


class SegmentationWriter(Callback):
    """Write three PNG files for each picture of ``predict``, at the picture's own size and under its name.

    ``masks/`` holds palette pictures whose pixels are labels, as Pascal VOC's masks; ``coloured/`` the colours of the
    labels; ``overlays/`` these over the picture, with a legend. A file is whole or absent.

    Needs ``predict_step`` to return rows with ``mask``, uint8 (H, W), a module with ``class_names``, and a DataModule
    with ``to_pictures`` and ``sample_names``.

    Args:
        folder: where to.
        colours: colours by the names of classes, all others being black, such as ``{person: red, dog: green}``; a
            colour is a name or ``#rrggbb``. Without it, every class has its colour in Pascal VOC.
    """

    def __init__(self, folder: str = "segmentations", colours: dict[str, str] | None = None) -> None:
        self.folder = Path(folder)
        self.colours: Mapping[str, str] | None = colours

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._names: list[str] = pl_module.class_names()  # type: ignore[operator]
        self._table = choose_colours(self._names, self.colours)
        try:
            for kind in KINDS:
                (self.folder / kind).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot write there ({error}). Give the SegmentationWriter another folder."
            ) from error

    @override
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        pictures = data.to_pictures(batch["image"]).permute(0, 2, 3, 1).cpu().numpy()
        for name, picture, row in zip(data.sample_names(batch), pictures, outputs, strict=True):
            if row is not None:
                # Taken out of the row, so that a run over many pictures does not keep all masks in memory.
                self._write(Path(name).stem, picture, row.pop("mask").numpy())

    def _write(self, name: str, picture: np.ndarray, mask: np.ndarray) -> None:
        laid_over = add_legend(overlay(picture, mask, self._table), mask, self._names, self._table)
        images = (index_mask(mask), Image.fromarray(self._table[mask]), laid_over)
        for kind, image in zip(KINDS, images, strict=True):
            file = self.folder / kind / f"{name}.png"
            part = file.with_name(f".{file.name}.part")
            try:
                image.save(part, "PNG")
                part.replace(file)
            except OSError as error:
                part.unlink(missing_ok=True)
                raise InputError(f"{file}: could not be written ({error}).") from error

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rank_zero_info(f"Masks, coloured masks and overlays are in {self.folder}")
