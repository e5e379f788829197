"""Images decoded once into a memory-mapped array, from which batches are gathered without decoding."""

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

from datamodules.images.image_file import UnreadableImageError, read_image
from datamodules.sources.invalid_samples import report_invalid_samples
from sextant.atomic_folder import fingerprint, make_current
from sextant.errors import InputError

CHUNK = 1024  # images decoded between two writes: 12 MB at 64x64


class ImageArray(Dataset):
    """Images of one size as a memory-mapped uint8 array (N, 3, size, size).

    The array is built in parallel on first use and kept in the folder
    ``<cache>/<name>-<place>-<fingerprint>``. ``place`` stands for the folder of the source; ``fingerprint`` is
    a hash of the files' names, lengths and times of change, so that a changed source is decoded anew, and the
    outdated array is then deleted. A folder that exists is complete: it is renamed into place at the end.

    Images of any mode become RGB and are turned as their EXIF orientation says; those of another size are
    resized (bicubic, antialiased) until the shorter side fits, and cropped to the center.

    Args:
        files: the images.
        size: height and width in pixels.
        cache: folder for the arrays of all data sets.
        name: what the images are, for people who look into ``cache``.
        unreadable: ``error`` stops at files that are no whole image and names them; ``skip`` leaves them
            out and warns.

    Raises:
        InputError: a file is unreadable, or there is no room for the array.
    """

    def __init__(
        self, files: Sequence[Path], size: int, cache: Path, name: str, unreadable: Literal["error", "skip"]
    ) -> None:
        source = os.path.commonpath([os.path.dirname(file) for file in files])
        place = hashlib.sha256(os.fsencode(os.path.abspath(source))).hexdigest()[:8]
        try:
            self.folder = make_current(
                cache / f"{name}-{place}", fingerprint(files, source, str(size)), partial(_build, files, size)
            )
        except OSError as error:
            raise InputError(
                f"{cache}: {len(files) * 3 * size * size / 1e6:.0f} MB of decoded images could not be written "
                f"({error}). Nothing was kept; free some space or choose another place with --data.cache."
            ) from error
        contents = json.loads((self.folder / "contents.json").read_text())
        skipped: dict[str, str] = contents["unreadable"]
        faults = {files[int(i)]: why for i, why in skipped.items()}
        report_invalid_samples(faults, len(files), "images", unreadable)
        #: The files that could be read, in the order of the array.
        self.files = [f for i, f in enumerate(files) if str(i) not in skipped]
        #: For each image of the array, its position in the ``files`` that were given, int64 (N,).
        self.positions = np.array([i for i in range(len(files)) if str(i) not in skipped], dtype=np.int64)
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
        """Gather a batch, uint8 (B, 3, size, size)."""
        return torch.from_numpy(np.take(self._array, indices, axis=0))


def _decode(size: int, file: Path) -> np.ndarray | str:
    """Decode one image to uint8 (3, size, size), or say why it cannot be read."""
    try:
        image = read_image(file)
    except UnreadableImageError as error:
        return str(error)
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def _build(files: Sequence[Path], size: int, folder: Path) -> Path:
    unreadable: dict[int, str] = {}
    with (
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
        (folder / "images.u8").open("wb") as out,
        tqdm(total=len(files), desc="Decoding images", unit="image") as bar,
    ):
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            for i, image in enumerate(pool.map(partial(_decode, size), chunk), start):
                if isinstance(image, str):
                    unreadable[i] = image
                else:
                    out.write(image.tobytes())
            bar.update(len(chunk))
    (folder / "contents.json").write_text(json.dumps({"unreadable": unreadable}))
    return folder
