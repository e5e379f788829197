"""Pascal VOC 2012 for semantic segmentation, and other sets in its layout."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torchvision.transforms.v2.functional import normalize, to_dtype
from typing_extensions import override

from datamodules.images.augmentation import change_color
from datamodules.images.mask_checks import Checked, cached_check, check_pairs
from datamodules.images.mask_labels import report_missing_classes, require_counting_pixels
from datamodules.images.normalization import IMAGENET_MEAN as MEAN
from datamodules.images.normalization import IMAGENET_STD as STD
from datamodules.images.random_crop import RandomCrop
from datamodules.images.segmentation import Pair, TrainingCrops, WholeImages
from datamodules.images.voc_folder import find_images, read_classes, read_list
from datamodules.images.voc_palette import voc_palette
from datamodules.sources.archive import Archive, get_folder
from datamodules.sources.invalid_samples import report_invalid_samples
from datamodules.sources.near_root import near_root
from datamodules.synthetic import pascal_voc as synthetic_set
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.normalization import denormalize
from sextant.samplers.fixed.even import EvenBatches
from sextant.samplers.fixed.numbered_epochs import NumberedEpochs
from sextant.samplers.fixed.shuffled import ShuffledBatches

ARCHIVE = Archive(  # MD5 as torchvision pins it
    url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    size=1_999_639_040,
    md5="6cd6e144f989b92b3379bac3b3de84fd",
)
TOP = "VOCdevkit/VOC2012"
CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
AUGMENTED = ("train_aug", "SegmentationClassAug")  # list and folder of the Semantic Boundaries Dataset's masks
SURROUND = [round(255 * mean) for mean in MEAN]  # about 0 after the normalization, but for changes of color


@dataclass(frozen=True)
class Lists:
    """The lists in ``ImageSets/Segmentation`` that name the images of each split.

    Args:
        train: training images; ``train_aug`` by default if it is there, else ``train``.
        val: validation images.
        test: images that ``test`` measures and ``predict`` segments. VOC's own test images have no published masks, so
            that is ``val`` unless you have others.
    """

    train: str | None = None
    val: str = "val"
    test: str = "val"


class PascalVOC(BaseDataModule):
    """Pascal VOC 2012 (Everingham et al. 2015) for semantic segmentation, or any data in its layout.

    The folder is read as it was published and never written to: lists of names from ``ImageSets/Segmentation/*.txt``,
    images from ``JPEGImages/<name>.jpg``, masks from ``SegmentationClass/<name>.png``. The pixels of a mask are
    labels: a palette's index, or a gray level; 255 is for ignored pixels. All images and masks of a list are read once
    before the first run, so that invalid ones are found then.

    With masks of the Semantic Boundaries Dataset (Hariharan et al. 2011) in the usual form, the list ``train_aug.txt``
    and the folder ``SegmentationClassAug``, these are trained on, unless ``lists.train`` names another list.

    Args:
        root: the folder that holds ``JPEGImages``.
        download: get the published training and validation data (2.0 GB) if ``root`` does not exist.
        synthetic: use a small generated set of the same layout instead of ``root``: colored shapes of 4 kinds on a
            textured background. Figures from it say nothing about Pascal VOC.
        classes: a file with the names of the classes, one a line, in the order of the labels from 0 on. Without it,
            ``classes.txt`` in ``root`` is taken, and without that, VOC's 21.
        lists: the lists of images for each split.
        images: for ``predict``, an image or a folder of images, instead of those of the list ``lists.test``, which then
            need no masks.
        cache: folder for what is known of the images and for the synthetic set.
        invalid_samples: what to do about images and masks that cannot be used: stop (``error``) or leave them out
            (``skip``).
        batch_size: images per training step over all processes. Elsewhere each process takes one whole image a
            step.
        num_workers: processes that read images ahead, per training process; 0 reads in the training process.
        seed: seed of order and augmentation; set by ``seed_everything``.
        augmentation: random crops and other changes of training images.

    Batch: ``image`` float (B, 3, H, W), normalized by ImageNet's mean and standard deviation; ``label`` int64
    (B, H, W) with 255 for ignored pixels, absent in ``predict``; ``index`` int64 (B,), below 0 for padding of the last
    batch. In training, H and W are ``augmentation.crop_size``; elsewhere a batch is one whole image. The augmentation
    of an image is a pure function of seed, epoch and image.
    """

    free_settings = BaseDataModule.free_settings | {"root", "download", "cache", "invalid_samples", "images"}
    normalization = (MEAN, STD)

    def __init__(
        self,
        root: str = f"data/{TOP}",
        download: bool = False,
        synthetic: bool = False,
        classes: str | None = None,
        lists: Lists = Lists(),
        images: str | None = None,
        cache: str = "data/cache",
        invalid_samples: Literal["error", "skip"] = "error",
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        augmentation: RandomCrop = RandomCrop(),
    ) -> None:
        super().__init__(num_workers, seed)
        self.batch_size = batch_size
        self.cache = Path(cache)
        self.root = self.cache / synthetic_set.FOLDER if synthetic else Path(root)
        self.download = download
        self.synthetic = synthetic
        self.class_file = None if classes is None else Path(classes)
        self.lists = lists
        self.images = None if images is None else Path(images)
        self.invalid_samples = invalid_samples
        self.augmentation = augmentation
        self._classes: list[str] = []  # in the order of the labels; empty for images without a data set
        self._sets: dict[str, TrainingCrops | WholeImages] = {}

    @override
    def prepare_data(self) -> None:
        """Get the data set onto the disk: make the synthetic set, or download, verify and extract the archive.

        Raises:
            InputError: the download failed, or an archive that is there is damaged.
        """
        if self.synthetic:
            synthetic_set.make(self.root)
            return
        get_folder(ARCHIVE, self.root.parent / Path(ARCHIVE.url).name, self.root, TOP, self.download)

    @override
    def require_data(self, stage: str) -> None:
        if not self.root.exists() and (stage != "predict" or self.images is None):
            raise InputError(
                f"{self.root}: there is no such folder (data.root).{near_root(self.root, 'JPEGImages')} Pascal VOC "
                f"2012 is at {ARCHIVE.url}: download and extract it with --data.download=true, give another folder "
                "with --data.root, or try the program on generated images first with --data.synthetic=true."
            )

    @override
    def setup(self, stage: str) -> None:
        """Read the lists that ``stage`` needs, and check what they name.

        Raises:
            InputError: a file or folder of the data set is missing, malformed or damaged.
        """
        if stage == "predict" and self.images is not None:
            asked = [Pair(file, None) for file in find_images(self.images)]
            self._sets["predict"] = WholeImages(self._valid(check_pairs(asked, 0), asked))
            if self.class_file is not None:  # otherwise they are those of the checkpoint
                self._classes = read_classes(self.class_file)
            return
        self.require_data(stage)
        file = self._found_class_file()
        self._classes = list(CLASSES) if file is None else read_classes(file)
        if stage == "fit":
            self._sets["train"] = TrainingCrops(self._read("train"), self.augmentation, SURROUND, self.seed)
        if stage in ("fit", "validate"):
            self._sets["val"] = WholeImages(self._read("val"))
        elif stage == "test":
            self._sets["test"] = WholeImages(self._read("test"))
        elif stage == "predict":
            self._sets["predict"] = WholeImages(self._read("test", labeled=False))

    def _read(self, split: str, labeled: bool = True) -> list[Pair]:
        """The valid images of a split."""
        folder = self.root / "ImageSets" / "Segmentation"
        names = {"train": self.lists.train or "train", "val": self.lists.val, "test": self.lists.test}
        name, masks = names[split], "SegmentationClass"
        if split == "train" and self.lists.train in (None, AUGMENTED[0]):
            augmented = (folder / f"{AUGMENTED[0]}.txt").exists() and (self.root / AUGMENTED[1]).is_dir()
            if augmented:
                name, masks = AUGMENTED
        file = folder / f"{name}.txt"
        pairs = read_list(file, self.root, masks if labeled else None)
        if split == "train":
            rank_zero_info(f"Training on the {len(pairs):,} images of {name}.txt.")
        kept_as = f"{'labeled' if labeled else 'images'}-{name}"
        checked = cached_check(pairs, len(self._classes), self.root, self.cache, kept_as)
        valid = self._valid(checked, pairs)
        if labeled:
            require_counting_pixels(checked.labels, file)
        if split == "train":
            report_missing_classes(checked.labels, file, self._classes, self._found_class_file())
        return valid

    def _found_class_file(self) -> Path | None:
        """The file that names the classes, if there is one."""
        own = self.root / "classes.txt"
        return self.class_file or (own if own.exists() else None)

    def _valid(self, checked: Checked, pairs: list[Pair]) -> list[Pair]:
        """The pairs that can be used."""
        report_invalid_samples(checked.invalid, len(pairs), "images", self.invalid_samples)
        valid = [pair for pair in pairs if pair.image not in checked.invalid]
        if not valid:
            raise InputError(f"None of {len(pairs)} images, such as {pairs[0].image}, can be used.")
        return valid

    @override
    def data_spec(self) -> DataSpec:
        """The classes; nothing for images without a data set."""
        return DataSpec(labels=tuple(self._classes))

    @override
    def train_dataloader(self) -> TimedDataLoader:
        def order(**position: Any) -> NumberedEpochs:
            size = len(self._sets["train"])
            return NumberedEpochs(ShuffledBatches(size, self.batch_size, shuffle=True, **position))

        return self.loader(self._sets["train"], training=True, order=order)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self._whole("val")

    @override
    def test_dataloader(self) -> TimedDataLoader:
        return self._whole("test")

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self._whole("predict")

    @override
    def calibration_dataloader(self) -> TimedDataLoader:
        """The loader of whole training images in random order, since a trained model never sees crops."""
        images = WholeImages(self._sets["train"].pairs)
        return self.loader(images, order=partial(EvenBatches, len(images), 1, shuffle=True, last_batch="pad"))

    def _whole(self, split: str) -> TimedDataLoader:
        """The loader of one image per process and step: padding to a common size would change the predictions."""
        images, ranks = self._sets[split], self.trainer.world_size if self.trainer else 1
        return self.loader(images, order=partial(EvenBatches, len(images), ranks, shuffle=False, last_batch="pad"))

    @override
    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        image = to_dtype(batch["image"], torch.float32, scale=True)
        changed = {name: value for name, value in batch.items() if name != "color"}
        if training and self.augmentation.color_jitter:
            image = change_color(image, batch["color"].T)
        changed["image"] = normalize(image, MEAN, STD, inplace=True)  # a batch may take 50 MB
        if "label" in batch:
            changed["label"] = batch["label"].long()
        return changed

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        pairs = self._sets[self.running_split()].pairs
        return [str(pairs[max(i, ~i)].image) for i in batch["index"].tolist()]

    @override
    def input_description(self) -> dict[str, Any]:
        """The normalization, and in ``colors`` red, green and blue, 0 to 255, of each class in masks."""
        return super().input_description() | {"colors": voc_palette()[: len(self._classes)].tolist()}

    def to_images(self, image: Tensor) -> Tensor:
        """Undo the normalization: float (B, 3, H, W) to uint8 (B, 3, H, W)."""
        return denormalize(image, MEAN, STD)
