"""The files of predicted masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.images.segmentation_writer import SegmentationWriter
from sextant.errors import InputError
from tests.callbacks.small_run import trainer
from tests.filesystem import require_synced

MASK = torch.tensor([[0, 1, 2], [2, 1, 0]], dtype=torch.uint8)


class Segmenter(LightningModule):
    """Gives each image the same mask, and no row for an image that pads the batch."""

    def pixel_class_names(self) -> tuple[str, ...]:
        return ("background", "person", "dog")

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any] | None]:
        return [{"mask": MASK} if index >= 0 else None for index in batch["index"].tolist()]


class Images(LightningDataModule):
    """A gray image, and one that pads the batch.

    Args:
        names: of images in other batches, which another process may predict.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def to_images(self, image: Tensor) -> Tensor:
        return (255 * image).byte()

    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        names = dict(enumerate(self.names))
        return [names.get(index, f"folder/image {index}.jpg") for index in batch["index"].tolist()]

    @override
    def predict_dataloader(self) -> DataLoader:
        batch = {"image": torch.full((2, 3, 2, 3), 0.5), "index": torch.tensor([7, -1])}
        return DataLoader([batch] * (len(self.names) or 1), batch_size=None)  # type: ignore[arg-type]


def test_mask_of_each_image_but_those_that_pad_is_in_three_whole_files_of_its_name(tmp_path: Path) -> None:
    rows = trainer(tmp_path, SegmentationWriter(str(tmp_path / "out"), {"person": "red"})).predict(
        Segmenter(), Images()
    )
    files = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert files == {f"{kind}/image 7.png" for kind in ("masks", "colored", "overlays")}
    mask, colored = (np.asarray(Image.open(tmp_path / "out" / kind / "image 7.png")) for kind in ("masks", "colored"))
    assert np.array_equal(mask, MASK.numpy())
    assert np.array_equal(colored, np.where((MASK.numpy() == 1)[..., None], (255, 0, 0), 0))
    assert rows == [[{}, None]]  # the masks are not kept in memory


def test_each_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    run = trainer(tmp_path, SegmentationWriter(str(tmp_path)))
    require_synced(tmp_path / "masks" / "image 7.png", lambda: run.predict(Segmenter(), Images()))


@pytest.mark.parametrize("other", ["here/a.png", "there/a.jpg"])
def test_images_whose_masks_would_have_the_same_files_are_refused_before_any_is_written(
    tmp_path: Path, other: str
) -> None:
    with pytest.raises(InputError, match=f"{other}: the files of its mask would replace those of here/a.jpg. Rename"):
        trainer(tmp_path, SegmentationWriter(str(tmp_path))).predict(Segmenter(), Images("here/a.jpg", "b.jpg", other))
    assert not (tmp_path / "masks").exists()


def test_files_are_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("in the folder, but not of masks")
    trainer(tmp_path, SegmentationWriter(str(tmp_path))).predict(Segmenter(), Images())
    file = tmp_path / "masks" / "image 7.png"
    file.write_text("before")
    with pytest.raises(InputError, match=r"masks: there are files already.*--segmentations\.overwrite=true"):
        trainer(tmp_path, SegmentationWriter(str(tmp_path))).predict(Segmenter(), Images())
    assert file.read_text() == "before"
    trainer(tmp_path, SegmentationWriter(str(tmp_path), overwrite=True)).predict(Segmenter(), Images())
    assert np.array_equal(np.asarray(Image.open(file)), MASK.numpy())


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out: cannot write there .* SegmentationWriter another folder"):
        trainer(tmp_path, SegmentationWriter(str(tmp_path / "file" / "out"))).predict(Segmenter(), Images())


def test_class_that_is_not_the_modules_has_no_color(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no class 'cat' to color; there are background, person, dog"):
        trainer(tmp_path, SegmentationWriter(str(tmp_path), {"cat": "red"})).predict(Segmenter(), Images())


def test_file_that_cannot_be_written_is_named_and_no_part_of_it_is_left(tmp_path: Path) -> None:
    (tmp_path / "masks" / "image 7.png").mkdir(parents=True)
    with pytest.raises(InputError, match=r"masks/image 7\.png: could not be written"):
        trainer(tmp_path, SegmentationWriter(str(tmp_path), overwrite=True)).predict(Segmenter(), Images())
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["image 7.png"]
