"""Checks of images and their masks before a run."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from datamodules.images.image_file import InvalidImageError, read_image
from datamodules.images.segmentation import Pair, read_mask
from datamodules.images.voc_palette import IGNORED
from datamodules.sources.invalid_samples import keep_current
from sextant.atomic_folder import fingerprint

ORIENTATION = 0x0112  # of EXIF
FORMAT = 2  # of what is kept; another number has the images checked anew


@dataclass(frozen=True)
class Checked:
    """What is known of images and their masks before a run.

    Args:
        invalid: the invalid images, with the reason for each.
        labels: those that a pixel of the other masks has, ascending, ``IGNORED`` among them.
    """

    invalid: dict[Path, str]
    labels: list[int]


def labels_of(pair: Pair, num_classes: int) -> list[int]:
    """The labels in the mask of an image, ascending; none for an image without a mask.

    Args:
        pair: the image and its mask, which are read.
        num_classes: labels are below it, or 255.

    Raises:
        InvalidImageError: one of the two cannot be used.
    """
    size = read_image(pair.image).size
    if pair.mask is None:
        return []
    with Image.open(pair.image) as opened:
        orientation = opened.getexif().get(ORIENTATION, 1)
    if orientation not in (0, 1):
        raise InvalidImageError(
            f"its EXIF data have an orientation ({orientation}), and whether the mask is turned like that cannot be "
            "known. Save the image turned as it is to be seen, without EXIF data"
        )
    try:
        mask = read_mask(pair.mask)
    except InvalidImageError as error:
        raise InvalidImageError(f"{pair.mask}: {error}") from error
    if mask.size != size:
        raise InvalidImageError(
            f"{pair.mask}: the mask has {mask.width}x{mask.height} pixels and the image {size[0]}x{size[1]}. "
            "One of the two belongs to another image, or was scaled"
        )
    pixels = np.asarray(mask)
    labels: list[int] = np.flatnonzero(np.bincount(pixels.ravel(), minlength=IGNORED + 1)).tolist()
    wrong = next((label for label in labels if num_classes <= label != IGNORED), None)
    if wrong is not None:
        row, column = np.argwhere(pixels == wrong)[0].tolist()
        raise InvalidImageError(
            f"{pair.mask}: label {wrong} at column {column}, row {row} is no class: there are "
            f"{num_classes}, from 0 to {num_classes - 1}, and 255 for ignored pixels. Name all classes in "
            "the file of data.classes, or correct the mask"
        )
    return labels


def check_pairs(pairs: Sequence[Pair], num_classes: int) -> Checked:
    """Read every image and mask.

    Args:
        pairs: the images and masks.
        num_classes: labels are below it, or 255.
    """

    def check(pair: Pair) -> list[int] | str:
        try:
            return labels_of(pair, num_classes)
        except InvalidImageError as error:
            return str(error)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        bar = tqdm(pool.map(check, pairs), desc="Checking images", unit="image", total=len(pairs))
        found = dict(zip((pair.image for pair in pairs), bar, strict=True))
    invalid = {image: reason for image, reason in found.items() if isinstance(reason, str)}
    return Checked(
        invalid, sorted({label for labels in found.values() if isinstance(labels, list) for label in labels})
    )


def cached_check(pairs: Sequence[Pair], num_classes: int, root: Path, cache: Path, name: str) -> Checked:
    """The same, kept in ``cache`` until one of the files changes.

    Args:
        pairs: images and masks under ``root``.
        num_classes: labels are below it, or 255.
        root: the data set's folder.
        cache: folder for what is known of all data sets.
        name: the first part of the folder's name.
    """
    key = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:8]
    files = [file for pair in pairs for file in pair if file is not None]

    def check(folder: Path) -> Path:
        found = check_pairs(pairs, num_classes)
        # By index: the path of the same root may be written in another way the next time.
        invalid = {index: found.invalid[pair.image] for index, pair in enumerate(pairs) if pair.image in found.invalid}
        (folder / "checked.json").write_text(json.dumps({"invalid": invalid, "labels": found.labels}))
        return folder

    current = fingerprint(files, str(root), f"{FORMAT}, {num_classes}")
    known = json.loads((keep_current(cache / f"{name}-{key}", current, check) / "checked.json").read_text())
    return Checked({pairs[int(index)].image: reason for index, reason in known["invalid"].items()}, known["labels"])
