"""Images that are decoded once and then read from a memory-mapped array."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from datamodules.images.image_file import InvalidImageError, read_image
from datamodules.sources.invalid_samples import report_invalid_samples
from sextant.atomic_folder import fingerprint, make_current
from sextant.errors import InputError

CHUNK = 1024  # images decoded between two writes: 12 MB at 64x64
FORMAT = 3  # of the folder; another number makes it anew


class ImageCache(Dataset):
    """Decoded images of one size in a memory-mapped uint8 array (N, 3, size, size).

    The array is built in parallel on first use and kept in the folder ``<cache>/<name>-<source>-<fingerprint>``.
    ``source`` is a hash of the path of the images' folder; ``fingerprint`` is a hash of the files' names, sizes and
    modification times. If the files change, they are decoded anew and the outdated array is deleted. A folder that
    exists is complete, since it gets its name last.

    Images are read by :func:`~datamodules.images.image_file.read_image`; those of another size are resized (bicubic,
    antialiased) until the shorter side fits, and cropped to the center.

    Args:
        files: the images.
        size: height and width in pixels.
        cache: folder for the arrays of all data sets.
        name: the first part of the folder's name.
        invalid_samples: ``error`` stops at damaged files and names them; ``skip`` leaves them out and warns.

    Raises:
        InputError: a file is damaged, no image is left, or there is no room for the array.
    """

    def __init__(
        self, files: Sequence[Path], size: int, cache: Path, name: str, invalid_samples: Literal["error", "skip"]
    ) -> None:
        source = os.path.commonpath([os.path.dirname(file) for file in files])
        key = hashlib.sha256(os.fsencode(os.path.abspath(source))).hexdigest()[:8]
        current = fingerprint(files, source, f"{FORMAT}, {size}")
        try:
            self.folder = make_current(cache / f"{name}-{key}", current, partial(_build, files, size))
        except OSError as error:
            raise InputError(
                f"{cache}: {len(files) * 3 * size * size / 1e6:.0f} MB of decoded images could not be written "
                f"({error}). Nothing was kept; free some space or choose another folder with --data.cache."
            ) from error
        contents = json.loads((self.folder / "contents.json").read_text())
        invalid: dict[str, str] = contents["invalid"]
        reasons = {files[int(i)]: reason for i, reason in invalid.items()}
        report_invalid_samples(reasons, len(files), "images", invalid_samples)
        #: The valid files, in the order of the array.
        self.files = [f for i, f in enumerate(files) if str(i) not in invalid]
        #: For each image of the array, its index in the ``files`` that were given, int64 (N,).
        self.indices = np.array([i for i in range(len(files)) if str(i) not in invalid], dtype=np.int64)
        self._shape = (len(self.files), 3, size, size)
        if not self.files:
            raise InputError(f"None of {len(files)} images under {files[0].parent} can be read.")

    @cached_property
    def _array(self) -> np.memmap:
        return np.memmap(self.folder / "images.u8", np.uint8, "r", shape=self._shape)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_array"}  # a worker opens the file by itself

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        """The images of a batch, uint8 (B, 3, size, size)."""
        return torch.from_numpy(np.take(self._array, indices, axis=0))


def _decode(size: int, file: Path) -> np.ndarray | str:
    """An image as uint8 (3, size, size), or why it is invalid."""
    try:
        image = read_image(file)
    except InvalidImageError as error:
        return str(error)
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def _build(files: Sequence[Path], size: int, folder: Path) -> Path:
    """Decode the images into ``folder``."""
    invalid: dict[int, str] = {}
    with (
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
        (folder / "images.u8").open("wb") as out,
        tqdm(total=len(files), desc="Decoding images", unit="image") as bar,
    ):
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            for i, image in enumerate(pool.map(partial(_decode, size), chunk), start):
                if isinstance(image, str):
                    invalid[i] = image
                else:
                    out.write(image.tobytes())
            bar.update(len(chunk))
    (folder / "contents.json").write_text(json.dumps({"invalid": invalid}))
    return folder
