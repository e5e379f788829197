"""Image files of predicted masks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from PIL import Image
from torch import Tensor
from typing_extensions import override

from callbacks.images.image_data import NamedImageData
from callbacks.images.masks import SegmentsImages, add_legend, choose_colors, index_mask, overlay
from sextant.atomic_folder import whole_file
from sextant.contracts import Observer, require
from sextant.errors import InputError, on_first_process
from sextant.files.location import local_path
from sextant.lightning_internals import datamodule_of

KINDS = ("masks", "colored", "overlays")


class SegmentationWriter(Observer):
    """Three PNG files for each image of ``predict``, of the image's own size and name.

    ``masks/`` holds palette images whose pixels are labels, as Pascal VOC's masks do; ``colored/`` the colors of the
    labels; ``overlays/`` these over the image, with a legend. A file is either complete or absent. The masks are taken
    from the rows of ``predict_step``, where they are ``mask``, uint8 (H, W). Images whose names differ in the folder or
    the suffix alone would have the same files, and are refused.

    Args:
        folder: where to.
        colors: colors by the names of classes, all others being black, such as ``{person: red, dog: green}``; a
            color is a name or ``#rrggbb``. Without it, every class has its color in Pascal VOC.
        overwrite: write where there are files, and replace those of the same names.

    Raises:
        InputError: in ``setup``, if the module is no :class:`~callbacks.images.masks.SegmentsImages` or the data no
            :class:`~callbacks.images.image_data.NamedImageData`, or there are files; or in ``predict``, if a file
            cannot be written, two images would have the same, or there is no such class or color.
    """

    def __init__(
        self, folder: str = "segmentations", colors: dict[str, str] | None = None, overwrite: bool = False
    ) -> None:
        self.folder = local_path(folder, "--segmentations.folder")
        self.overwrite = overwrite
        self.colors: Mapping[str, str] | None = colors

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict":
            require(pl_module, SegmentsImages, self)
            require(datamodule_of(trainer), NamedImageData, self)
            on_first_process(trainer, self._refuse_existing)

    def _refuse_existing(self) -> None:
        for kind in KINDS:
            folder = self.folder / kind
            if not self.overwrite and folder.is_dir() and any(folder.iterdir()):
                raise InputError(
                    f"{folder}: there are files already. Give the SegmentationWriter another folder "
                    "(--segmentations.folder), or let it replace those of the same names with "
                    "--segmentations.overwrite=true."
                )

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._names = require(pl_module, SegmentsImages, self).pixel_class_names()
        self._table = choose_colors(self._names, self.colors)
        self._refuse_same_files(trainer)
        try:
            for kind in KINDS:
                (self.folder / kind).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot write there ({error}). Give the SegmentationWriter another folder."
            ) from error

    def _refuse_same_files(self, trainer: Trainer) -> None:
        """Look at the names of all images, of which this process may predict a part only."""
        data = require(datamodule_of(trainer), NamedImageData, self)
        loaders: Any = trainer.predict_dataloaders
        names = data.sample_names({"index": torch.arange(len(loaders.dataset))})
        first: dict[str, str] = {}
        for name in names:
            other = first.setdefault(Path(name).stem, name)
            if other != name:
                raise InputError(
                    f"{name}: the files of its mask would replace those of {other}. Rename one of the two images, or "
                    "predict them one after the other, each with another --segmentations.folder."
                )

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
        data = require(datamodule_of(trainer), NamedImageData, self)
        images = data.to_images(batch["image"]).permute(0, 2, 3, 1).cpu().numpy()
        for name, image, row in zip(data.sample_names(batch), images, outputs, strict=True):
            if row is not None:
                # Taken out of the row, so that a run over many images does not keep all masks in memory.
                self._write(Path(name).stem, image, row.pop("mask").numpy())

    def _write(self, name: str, image: np.ndarray, mask: np.ndarray) -> None:
        laid_over = add_legend(overlay(image, mask, self._table), mask, self._names, self._table)
        drawn = (index_mask(mask), Image.fromarray(self._table[mask]), laid_over)
        for kind, drawing in zip(KINDS, drawn, strict=True):
            file = self.folder / kind / f"{name}.png"
            try:
                with whole_file(file) as part:
                    drawing.save(part, "PNG")
            except OSError as error:
                raise InputError(f"{file}: could not be written ({error}).") from error

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rank_zero_info(f"Masks, colored masks and overlays are in {self.folder}")
