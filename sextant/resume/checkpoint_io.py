"""Checkpoint files that are whole or absent, and that hold nothing but data."""

import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from typing_extensions import override

from sextant.atomic_folder import whole_file
from sextant.checkpoint_files import MAIN_FILE, find_not_plain, remove, replace_atomically, verify
from sextant.errors import InputError
from sextant.files.location import Location, RemotePath, local_copy, location, seems_there


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically, and read them with ``weights_only=True`` whatever was asked for.

    A checkpoint is written to a temporary file in its own folder, flushed to the disk and renamed, so that
    a kill or a full disk leaves the previous file as it was. It has checksums, which are compared on loading.
    A path may be a URL of a file system that fsspec knows, such as ``s3://bucket/runs/last.ckpt``.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save a checkpoint.

        Args:
            checkpoint: tensors and plain values only.
            path: where to; an existing file is replaced in one step.
            storage_options: not supported.

        Raises:
            InputError: the checkpoint could not be written, for instance because the disk is full.
            TypeError: the checkpoint holds an object that could not be read back safely.
        """
        if storage_options is not None:
            raise TypeError(f"{type(self).__name__} takes no storage_options, got {storage_options!r}")
        if not_plain := find_not_plain(checkpoint):
            raise TypeError(
                f"A checkpoint holds tensors and plain values only, but {not_plain} is neither. "
                "Store what it is made from instead."
            )
        place = location(path)
        try:
            torch.serialization.set_crc32_options(True)
            with whole_file(place, replace_atomically) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch wraps a failed write into a RuntimeError
            kept = "The previous file of that name is as it was." if seems_there(place) else "No file was left behind."
            raise InputError(
                f"{place}: the checkpoint could not be written ({error}). {kept} Free some space and resume."
            ) from error

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load a checkpoint, never executing code from it.

        Args:
            path: a file written by :meth:`save_checkpoint`, or a folder of sharded tables, which are merged.
            map_location: as for :func:`torch.load`.
            weights_only: not heeded, always True.

        Raises:
            InputError: the file is missing, damaged, or would need more than tensors and plain values.
        """
        place = location(path)
        try:
            if place.is_dir():
                return self._load_folder(place, map_location)
            if not place.is_file():
                raise InputError(
                    f"{place}: there is no such checkpoint. Give the path of a .ckpt file, or 'last', 'best' or 'auto'."
                )
            with local_copy(place) as file:
                return self._load_file(place, file, map_location)
        except OSError as error:
            raise InputError(f"{place}: the checkpoint cannot be read ({error}).") from error

    def _load_folder(self, place: Location, map_location: Any | None) -> dict[str, Any]:
        if isinstance(place, RemotePath):
            raise InputError(
                f"{place}: a checkpoint of sharded tables is read from a file system of this machine only. Copy the "
                "folder there, or make one file of it with train.py consolidate."
            )
        from sextant.strategies.sharded_checkpoint import read_whole  # which takes TorchRec

        return read_whole(place, self.load_checkpoint(place / MAIN_FILE, map_location))

    @staticmethod
    def _load_file(path: Location, file: Path, map_location: Any | None) -> dict[str, Any]:
        """Load a file that is on this machine, wherever ``path``, for the messages, is."""
        try:
            verify(file)
            checkpoint = torch.load(file, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(
                f"{path}: refused, since it holds more than tensors and plain values, and loading it could run code. "
                "If you trust it, load it once with torch.load(..., weights_only=False) and save its state_dict. "
                f"({_first_line(error)})"
            ) from error
        except Exception as error:  # what is damaged ends in any of them
            raise InputError(
                f"{path}: not a readable checkpoint ({_first_line(error)}). It is damaged or cut short; use another "
                "one."
            ) from error
        if not isinstance(checkpoint, dict):
            raise InputError(f"{path}: not a checkpoint but a {type(checkpoint).__name__}.")
        return checkpoint

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        remove(location(path))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
