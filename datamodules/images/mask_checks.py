"""Checks of images and their masks before a run."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from datamodules.images.image_file import InvalidImageError, read_image
from datamodules.images.segmentation import Pair, read_mask
from datamodules.images.voc_palette import IGNORED
from datamodules.sources.invalid_samples import cached_reasons
from sextant.atomic_folder import fingerprint

ORIENTATION = 0x0112  # of EXIF


def why_invalid(pair: Pair, num_classes: int) -> str | None:
    """What is wrong with an image and its mask, None if nothing is."""
    try:
        size = read_image(pair.image).size
    except InvalidImageError as error:
        return str(error)
    if pair.mask is None:
        return None
    with Image.open(pair.image) as opened:
        orientation = opened.getexif().get(ORIENTATION, 1)
    if orientation not in (0, 1):
        return (
            f"its EXIF data have an orientation ({orientation}), and whether the mask is turned like that cannot be "
            "known. Save the image turned as it is to be seen, without EXIF data"
        )
    try:
        mask = read_mask(pair.mask)
    except InvalidImageError as error:
        return f"{pair.mask}: {error}"
    if mask.size != size:
        return (
            f"{pair.mask}: the mask has {mask.width}x{mask.height} pixels and the image {size[0]}x{size[1]}. "
            "One of the two belongs to another image, or was scaled"
        )
    labels = np.asarray(mask)
    wrong = (labels >= num_classes) & (labels != IGNORED)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        return (
            f"{pair.mask}: label {labels[row, column]} at column {column}, row {row} is no class: there are "
            f"{num_classes}, from 0 to {num_classes - 1}, and 255 for ignored pixels. Name all classes in "
            "the file of data.classes, or correct the mask"
        )
    return None


def find_invalid(pairs: Sequence[Pair], num_classes: int) -> dict[Path, str]:
    """The invalid images, with the reason for each: every image and mask is read.

    Args:
        pairs: the images and masks.
        num_classes: labels are below it, or 255.
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = pool.map(lambda pair: why_invalid(pair, num_classes), pairs)
        bar = tqdm(found, desc="Checking images", unit="image", total=len(pairs))
        return {pair.image: reason for pair, reason in zip(pairs, bar, strict=True) if reason is not None}


def cached_invalid(pairs: Sequence[Pair], num_classes: int, root: Path, cache: Path, name: str) -> dict[Path, str]:
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

    def find() -> dict[int, str]:
        invalid = find_invalid(pairs, num_classes)
        # By index: the path of the same root may be written in another way the next time.
        return {index: invalid[pair.image] for index, pair in enumerate(pairs) if pair.image in invalid}

    current = fingerprint(files, str(root), str(num_classes))
    found = cached_reasons(cache / f"{name}-{key}", current, find)
    return {pairs[index].image: reason for index, reason in found.items()}
