"""Tensors that several processes wrote with ``torch.distributed.checkpoint``, read without running code."""

import io
import pickle
import warnings
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata
from typing_extensions import override

from sextant.errors import InputError


def load_tensors(state: dict[str, Any], folder: Path, alone: bool = False) -> None:
    """Read into tensors in place.

    Args:
        state: what is read into, by name; of a DTensor the shards of this process.
        folder: of the tensors' files, within the checkpoint's folder.
        alone: whether this process reads by itself; otherwise all call it together.

    Raises:
        InputError: the files are damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")  # which is as intended
            dcp.load(state, storage_reader=_DataReader(folder), no_dist=alone)
    except (dcp.CheckpointException, OSError, RuntimeError) as error:
        raise InputError(
            f"{folder.parent}: its tables cannot be read ({reason(error)}). The folder is damaged; use another "
            "checkpoint."
        ) from error


def reason(error: BaseException) -> str:
    """The first line of an error that says something, also where several processes had one."""
    if isinstance(error, dcp.CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return (str(error).strip() or type(error).__name__).split("\n")[0]


class _MetadataUnpickler(pickle.Unpickler):
    """Reads what ``torch.distributed.checkpoint`` says of its files, and runs no code."""

    # Some of these names are private ones of torch: they stand in the files.
    ALLOWED: ClassVar[dict[str, set[str]]] = {
        "torch": {"Size"},
        "torch.serialization": {"_get_layout"},
        "pathlib": {"PosixPath", "Path"},
        "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
        "torch.distributed.checkpoint.metadata": {
            *("Metadata", "MetadataIndex", "StorageMeta", "TensorStorageMetadata", "ChunkStorageMetadata"),
            *("TensorProperties", "_MEM_FORMAT_ENCODING"),
        },
    }

    @override
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == "torch" and isinstance(getattr(torch, global_name, None), torch.dtype):
            return getattr(torch, global_name)
        if (module_name, global_name) == ("builtins", "getattr"):
            return _member
        if global_name not in self.ALLOWED.get(module_name, ()):
            raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}, which could run code")
        return super().find_class(module_name, global_name)


def _member(enumeration: Any, name: str) -> Enum:
    """A member of an enumeration, which some versions of Python pickle as an attribute."""
    if not (isinstance(enumeration, type) and issubclass(enumeration, Enum)):
        raise pickle.UnpicklingError("it refers to an attribute, which could run code")
    return enumeration[name]


class _DataReader(dcp.FileSystemReader):
    """Reads tensors only: the metadata of ``torch.distributed.checkpoint`` is a pickle that may hold anything."""

    @override
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = _MetadataUnpickler(io.BytesIO((Path(self.path) / ".metadata").read_bytes())).load()
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError(f"its metadata is a {type(metadata).__name__}")
        return metadata
