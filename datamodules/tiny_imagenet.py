"""Tiny-ImageNet-200 as it was published: 64x64 photos in 200 classes."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import normalize, to_dtype
from typing_extensions import override

from datamodules.images.augmentation import Augmentation
from datamodules.images.image_cache import ImageCache
from datamodules.images.image_file import list_images
from datamodules.images.normalization import IMAGENET_MEAN as MEAN
from datamodules.images.normalization import IMAGENET_STD as STD
from datamodules.images.tiny_imagenet_folder import read_classes, read_train, read_val
from datamodules.sources.archive import Archive, get_folder
from datamodules.sources.near_root import near_root
from datamodules.synthetic import tiny_imagenet as synthetic_set
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.normalization import denormalize

ARCHIVE = Archive(
    url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    size=248_100_043,
    sha256="6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
)
TOP = "tiny-imagenet-200"
SIZE = 64


class LabeledImages(Dataset):
    """Batches of ``image`` uint8 (B, 3, 64, 64), ``index`` int64 (B,) and, if labeled, ``label`` int64 (B,)."""

    def __init__(self, images: ImageCache, labels: list[int] | None) -> None:
        self.images = images
        self.labels = None if labels is None else torch.tensor(labels)[torch.from_numpy(images.indices)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        index = torch.tensor(indices)
        batch = {"image": self.images[indices], "index": index}
        if self.labels is not None:
            batch["label"] = self.labels[index]
        return batch


class TinyImageNet(BaseDataModule):
    """Tiny-ImageNet-200 (Le and Yang 2015, Stanford CS231n), or any data in its layout.

    The folder is read as it was published and never written to: classes from ``wnids.txt`` and ``words.txt``,
    training images from ``train/<wnid>/images``, validation labels from ``val/val_annotations.txt``. The test
    split has no labels; ``predict`` classifies it, or a folder of your own.

    Args:
        root: the folder that holds ``wnids.txt``.
        download: get the published archive (248 MB) if ``root`` does not exist.
        synthetic: use a small generated set of the same layout instead of ``root``: colored shapes in 10 classes
            that can be told apart without error. Figures from it say nothing about Tiny-ImageNet.
        cache: folder for the decoded images (1.4 GB for the whole set) and the synthetic set.
        invalid_samples: what to do about damaged images: stop (``error``) or leave them out (``skip``).
        images: for ``predict``, a folder of images of any size and mode instead of the test split.
        batch_size: images per step over all processes.
        num_workers: processes that gather batches ahead, per training process; 0 gathers in the training process.
        seed: seed of order and augmentation; set by ``seed_everything``.
        augmentation: random changes of training images.

    Batch: ``image`` float (B, 3, 64, 64), normalized by ImageNet's mean and standard deviation; ``label`` int64 (B,),
    or float (B, classes) after MixUp or CutMix, absent in ``predict``; ``index`` int64 (B,).
    """

    free_settings = BaseDataModule.free_settings | {"root", "download", "cache", "invalid_samples", "images"}
    normalization = (MEAN, STD)

    def __init__(
        self,
        root: str = "data/tiny-imagenet-200",
        download: bool = False,
        synthetic: bool = False,
        cache: str = "data/cache",
        invalid_samples: Literal["error", "skip"] = "error",
        images: str | None = None,
        batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
        augmentation: Augmentation = Augmentation(),
    ) -> None:
        super().__init__(num_workers, seed)
        self.batch_size = batch_size
        self.cache = Path(cache)
        self.root = self.cache / synthetic_set.FOLDER if synthetic else Path(root)
        self.download = download
        self.synthetic = synthetic
        self.invalid_samples = invalid_samples
        self.images = None if images is None else Path(images)
        self.augmentation = augmentation
        if augmentation.crop_padding >= SIZE:
            raise InputError(
                f"data.augmentation.crop_padding is {augmentation.crop_padding}; it must be below {SIZE}, the size of "
                "the images."
            )
        self._classes: dict[str, str] = {}  # as of read_classes; empty while there is no data set
        self._sets: dict[str, LabeledImages] = {}
        self._mixing: v2.Transform = v2.Identity()

    @override
    def prepare_data(self) -> None:
        """Get the data set onto the disk: make the synthetic set, or download, verify and extract the archive.

        Raises:
            InputError: the download failed, or an archive that is there is damaged.
        """
        if self.synthetic:
            synthetic_set.make(self.root)
            return
        get_folder(ARCHIVE, self.root.parent / f"{TOP}.zip", self.root, TOP, self.download)

    @override
    def require_data(self, stage: str) -> None:
        if not self.root.exists() and (stage != "predict" or self.images is None):
            raise InputError(
                f"{self.root}: there is no such folder (data.root).{near_root(self.root, 'wnids.txt')} "
                f"Tiny-ImageNet-200 is at {ARCHIVE.url}: download and extract it with --data.download=true, give "
                "another folder with --data.root, or try the program on generated images first with "
                "--data.synthetic=true."
            )

    @override
    def setup(self, stage: str) -> None:
        """Read the splits that ``stage`` needs.

        Raises:
            InputError: a file or folder of the data set is missing, malformed or damaged.
        """
        self.require_data(stage)
        if self.root.exists():
            self._classes = read_classes(self.root)
        if stage == "fit":
            self._sets["train"] = self._load("train", *read_train(self.root, list(self._classes)))
            self._mixing = self.augmentation.mixing(len(self._classes))
        if stage in ("fit", "validate"):
            self._sets["val"] = self._load("val", *read_val(self.root, list(self._classes)))
        if stage == "test":
            raise InputError(
                "The labels of Tiny-ImageNet's test split were never published, so there is nothing to test against: "
                "'validate' measures on the validation split, 'predict' writes the classes of the test split."
            )
        if stage == "predict":
            folder = self.images or self.root / "test" / "images"
            self._sets["predict"] = self._load("predict", list_images(folder), None)

    def _load(self, split: str, files: list[Path], labels: list[int] | None) -> LabeledImages:
        images = ImageCache(files, SIZE, self.cache, f"tiny-imagenet-{split}", self.invalid_samples)
        return LabeledImages(images, labels)

    @override
    def prediction_example(self) -> list[str]:
        has_test_images = (self.root / "test" / "images").is_dir()
        return [] if has_test_images else [f"--data.images={self.root / 'val' / 'images'}"]

    @override
    def data_spec(self) -> DataSpec:
        """The classes and their WordNet ids; nothing for images without a data set."""
        return DataSpec(labels=tuple(self._classes.values()), label_ids=tuple(self._classes))

    @override
    def train_dataloader(self) -> TimedDataLoader:
        return self.loader(self._sets["train"], training=True)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self.loader(self._sets["val"])

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self.loader(self._sets["predict"])

    @override
    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        image = batch["image"]
        image = self.augmentation(image) if training else to_dtype(image, torch.float32, scale=True)
        batch = batch | {"image": normalize(image, MEAN, STD)}
        if training:
            batch["image"], batch["label"] = self._mixing(batch["image"], batch["label"])
        return batch

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        files = self._sets[self.running_split()].images.files
        return [str(files[i]) for i in batch["index"].tolist()]

    def to_images(self, image: Tensor) -> Tensor:
        """Undo the normalization: float (B, 3, H, W) to uint8 (B, 3, H, W)."""
        return denormalize(image, MEAN, STD)
