"""Pascal VOC 2012 for semantic segmentation, and other sets in its layout."""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torchvision.transforms.v2.functional import normalize, to_dtype
from typing_extensions import override

from datamodules.images.augmentation import change_color
from datamodules.images.image_file import SUFFIXES, list_images
from datamodules.images.normalization import IMAGENET_MEAN as MEAN
from datamodules.images.normalization import IMAGENET_STD as STD
from datamodules.images.segmentation import Pair, RandomCrop, TrainingCrops, WholeImages, find_faults, known_faults
from datamodules.images.voc_palette import IGNORED, voc_palette
from datamodules.sources.archive import Archive, get_folder
from datamodules.sources.invalid_samples import NAMED, report_invalid_samples
from datamodules.synthetic import pascal_voc as synthetic_set
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.normalization import denormalize
from sextant.samplers.even import EvenBatches
from sextant.samplers.numbered_epochs import NumberedEpochs
from sextant.samplers.shuffled import ShuffledBatches

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


class PascalVOC(BaseDataModule):
    """Pascal VOC 2012 (Everingham et al. 2015) for semantic segmentation, or any data in its layout.

    The folder is read as it was published and never written to: lists of names from ``ImageSets/Segmentation/*.txt``,
    images from ``JPEGImages/<name>.jpg``, masks from ``SegmentationClass/<name>.png``. The pixels of a mask are
    labels: a palette's index, or a gray level; 255 is for pixels that do not count. All images and masks of a list
    are read once before the first run, so that a bad one is found then.

    With masks of the Semantic Boundaries Dataset (Hariharan et al. 2011) in the usual form, the list ``train_aug.txt``
    and the folder ``SegmentationClassAug``, these are what is trained on, unless ``train`` names another list.

    Args:
        root: the folder that holds ``JPEGImages``.
        download: get the published training and validation data (2.0 GB) if ``root`` does not exist.
        synthetic: use a small generated set of the same layout instead of ``root``: colored shapes of 4 kinds on a
            textured ground. Figures from it say nothing about Pascal VOC.
        classes: a file with the names of the classes, one a line, in the order of the labels from 0 on. Without it,
            ``classes.txt`` in ``root`` is taken, and without that, VOC's 21.
        train: list of the training images; ``train_aug`` by default if it is there, else ``train``.
        val: list of the validation images.
        test: list of the images that ``test`` measures. VOC's own test images have no published masks, so that is
            ``val`` unless you have others.
        images: for ``predict``, an image or a folder of images, instead of those of the list ``test``, which then
            need no masks.
        cache: folder for what is remembered of the data and for the synthetic set.
        unreadable: what to do about images and masks that cannot be used: stop (``error``) or leave them out
            (``skip``).
        batch_size: images per training step over all processes. Elsewhere each process takes one whole image a
            step.
        num_workers: processes that read images ahead, per training process; 0 reads in the training process.
        seed: seed of order and augmentation; set by ``seed_everything``.
        crop_size: side of the square that is cut out of training images, in pixels.
        scales: lowest and highest factor by which training images are scaled before.
        flip: mirror training images at random.
        color_jitter: training images change in brightness, contrast and saturation by up to this share.

    Batch: ``image`` float (B, 3, H, W), normalized by ImageNet's mean and deviation; ``label`` int64 (B, H, W) with 255
    for pixels that do not count, absent in ``predict``; ``index`` int64 (B,), below 0 for an image that fills a batch
    up. In training, H and W are ``crop_size``; elsewhere a batch is one whole image. What is drawn for a training
    image is a pure function of seed, epoch and image.
    """

    free_settings = BaseDataModule.free_settings | {"root", "download", "cache", "unreadable", "images"}
    normalization = (MEAN, STD)

    def __init__(
        self,
        root: str = f"data/{TOP}",
        download: bool = False,
        synthetic: bool = False,
        classes: str | None = None,
        train: str | None = None,
        val: str = "val",
        test: str = "val",
        images: str | None = None,
        cache: str = "data/cache",
        unreadable: Literal["error", "skip"] = "error",
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        crop_size: int = 513,
        scales: tuple[float, float] = (0.5, 2.0),
        flip: bool = True,
        color_jitter: float = 0.0,
    ) -> None:
        super().__init__(num_workers, seed)
        if crop_size < 1:
            raise InputError(f"data.crop_size is {crop_size}; it must be 1 or more.")
        if not 0 < scales[0] <= scales[1]:
            raise InputError(f"data.scales is {list(scales)}; it must be two factors above 0, the lower one first.")
        if not 0 <= color_jitter <= 1:
            raise InputError(f"data.color_jitter is {color_jitter}; it must be between 0 and 1.")
        self.batch_size = batch_size
        self.cache = Path(cache)
        self.root = self.cache / synthetic_set.FOLDER if synthetic else Path(root)
        self.download = download
        self.synthetic = synthetic
        self.class_file = None if classes is None else Path(classes)
        self.lists = {"train": train, "val": val, "test": test}
        self.images = None if images is None else Path(images)
        self.unreadable = unreadable
        self.crop = RandomCrop(crop_size, scales, flip, color_jitter, seed)
        #: Names of the classes, in the order of the labels; empty for images without a data set.
        self.classes: list[str] = []
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
    def setup(self, stage: str) -> None:
        """Read the lists that ``stage`` needs, and check what they name.

        Raises:
            InputError: a file or folder of the data set is missing, malformed or unreadable.
        """
        if stage == "predict" and self.images is not None:
            asked = [Pair(file, None) for file in find_images(self.images)]
            self._sets["predict"] = WholeImages(self._without(find_faults(asked, 0), asked))
            if self.class_file is not None:  # otherwise they are those of the checkpoint
                self.classes = read_classes(self.class_file)
            return
        if not self.root.exists():
            raise InputError(
                f"{self.root}: there is no such folder (data.root). Pascal VOC 2012 is at {ARCHIVE.url}: download and "
                "extract it with --data.download=true, give another folder with --data.root, or try the program on "
                "generated images first with --data.synthetic=true."
            )
        own = self.root / "classes.txt"
        file = self.class_file or (own if own.exists() else None)
        self.classes = list(CLASSES) if file is None else read_classes(file)
        if stage == "fit":
            self._sets["train"] = TrainingCrops(self._read("train"), self.crop, SURROUND)
        if stage in ("fit", "validate"):
            self._sets["val"] = WholeImages(self._read("val"))
        elif stage == "test":
            self._sets["test"] = WholeImages(self._read("test"))
        elif stage == "predict":
            self._sets["predict"] = WholeImages(self._read("test", labeled=False))

    def _read(self, split: str, labeled: bool = True) -> list[Pair]:
        """The images of a split, without those that are left out."""
        name, masks = self.lists[split], "SegmentationClass"
        folder = self.root / "ImageSets" / "Segmentation"
        if split == "train" and name in (None, AUGMENTED[0]):
            augmented = (folder / f"{AUGMENTED[0]}.txt").exists() and (self.root / AUGMENTED[1]).is_dir()
            if augmented:
                name, masks = AUGMENTED
        pairs = read_list(folder / f"{name or 'train'}.txt", self.root, masks if labeled else None)
        if split == "train":
            rank_zero_info(f"Training on the {len(pairs):,} images of {name or 'train'}.txt.")
        checked = f"{'labeled' if labeled else 'images'}-{name or 'train'}"
        return self._without(known_faults(pairs, len(self.classes), self.root, self.cache, checked), pairs)

    def _without(self, faults: dict[Path, str], pairs: list[Pair]) -> list[Pair]:
        """The pairs that can be used."""
        report_invalid_samples(faults, len(pairs), "images", self.unreadable)
        used = [pair for pair in pairs if pair.image not in faults]
        if not used:
            raise InputError(f"None of {len(pairs)} images, such as {pairs[0].image}, can be used.")
        return used

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
        """Whole training images in random order, since crops are never seen by a trained model."""
        images = WholeImages(self._sets["train"].pairs)
        return self.loader(images, order=partial(EvenBatches, len(images), 1, shuffle=True, last_batch="pad"))

    def _whole(self, split: str) -> TimedDataLoader:
        """One image of a split for each process in each step: padding to a common size would change the outcome."""
        images, ranks = self._sets[split], self.trainer.world_size if self.trainer else 1
        return self.loader(images, order=partial(EvenBatches, len(images), ranks, shuffle=False, last_batch="pad"))

    @override
    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        image = to_dtype(batch["image"], torch.float32, scale=True)
        changed = {name: value for name, value in batch.items() if name != "color"}
        if training and self.crop.color_jitter:
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
        return super().input_description() | {"colors": voc_palette()[: len(self.classes)].tolist()}

    def to_images(self, image: Tensor) -> Tensor:
        """Undo the normalization: float (B, 3, H, W) to uint8 (B, 3, H, W)."""
        return denormalize(image, MEAN, STD)


def read_classes(file: Path) -> list[str]:
    """Read the names of the classes, one a line.

    Raises:
        InputError: the file is missing, or it names fewer than two classes, one of them twice, or more than there are
            labels.
    """
    if not file.is_file():
        raise InputError(f"{file}: there is no such file (data.classes). It names the classes, one a line.")
    names = [line.strip() for line in _lines(file) if line.strip()]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InputError(f"{file}: class {twice!r} is named twice. Every label needs a name of its own.")
    if not 2 <= len(names) <= IGNORED:
        raise InputError(f"{file}: it names {len(names)} classes; there must be between 2 and {IGNORED}, one a line.")
    return names


def read_list(file: Path, root: Path, masks: str | None) -> list[Pair]:
    """Read which images a list names.

    Args:
        file: with a name a line, or the paths of image and mask, as some lists of augmented masks have them.
        root: holds the folders of images and masks.
        masks: the folder of the masks; None if they are not needed.

    Raises:
        InputError: there is no such list, it is empty, or it names files that are missing.
    """
    if not file.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.txt"))
        there = (
            f"There are {', '.join(known)}: choose one with --data.train, --data.val or --data.test" if known else ""
        )
        raise InputError(f"{file}: there is no such list. {there or 'Is data.root a folder like VOC2012?'}.")
    images = _by_stem(root / "JPEGImages", SUFFIXES)
    labels = None if masks is None else _by_stem(root / masks, {".png"})
    pairs, missing, line_of = [], [], dict[str, int]()
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        name = _named(line.strip(), images)
        if name in line_of:
            raise InputError(
                f"{file}:{number}: {name} is there already, in line {line_of[name]}. Remove one of the two."
            )
        line_of[name] = number
        image, mask = images.get(name), None if labels is None else labels.get(name)
        if image is None:
            missing.append(f"\n  line {number}: {root / 'JPEGImages' / name}")
        if labels is not None and mask is None:
            missing.append(f"\n  line {number}: {root / str(masks) / name}.png")
        if image is not None:
            pairs.append(Pair(image, mask))
    if missing:
        more = f"\n  ... and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise InputError(
            f"{file}: {len(missing)} of the files that it names are missing:{''.join(missing[:NAMED])}{more}\n"
            "Add them, or take their names from the list."
        )
    if not pairs:
        raise InputError(f"{file}: the list is empty. It should have a name a line.")
    return pairs


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start}. Convert the file.") from error


def _named(line: str, images: Mapping[str, Path]) -> str:
    """Which image a line means: by its name, which may have dots and spaces, or by the paths of image and mask."""
    names = [Path(path).name for path in (line, line.split()[0])]
    stems = [Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name for name in names]
    return next((stem for stem in stems if stem in images), stems[-1])


def _by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise InputError(f"{path}: {found[path.stem].name} has the same name. Remove one of the two.")
            found[path.stem] = path
    return found


def find_images(source: Path) -> list[Path]:
    """The images to segment: a file, or those in a folder.

    Raises:
        InputError: there are none, or two of them differ in their suffix only, and so would have the same mask file.
    """
    files = [source] if source.is_file() else list_images(source)
    by_stem: dict[str, Path] = {}
    for file in files:
        if file.stem in by_stem:
            raise InputError(
                f"{file}: {by_stem[file.stem].name} has the same name but for the suffix, and their masks would too. "
                "Rename one of them."
            )
        by_stem[file.stem] = file
    return files
