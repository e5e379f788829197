"""Tensors that several processes wrote with ``torch.distributed.checkpoint``, read without running code."""

import hashlib
import io
import math
import pickle
import warnings
from enum import Enum
from pathlib import Path
from typing import IO, Any, ClassVar

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future
from typing_extensions import override

from sextant.atomic_folder import sync
from sextant.checkpoint_files import MAIN_FILE, PREVIOUS, verify
from sextant.errors import InputError
from sextant.files.file_part import FilePart

METADATA = ".metadata"
CHECKSUM = b"\nSHA-256:"  # behind the metadata, where its pickle has ended, and before 32 bytes


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
            dcp.load(state, storage_reader=DataReader(folder), no_dist=alone)
    except (dcp.CheckpointException, Exception) as error:  # what is damaged ends in any of them
        raise _damaged(folder, error) from error


def tensor_sizes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The sizes of the tensors by name, once it is sure that their files are there, and as long as they were written.

    Args:
        folder: of the tensors' files, within the checkpoint's folder.

    Raises:
        InputError: what is said of the tensors is damaged, or a file is missing, cut short or one too many.
    """
    try:
        tensors = _tensors(DataReader(folder).read_metadata())
    except Exception as error:
        raise _damaged(folder, error) from error
    return {name: tuple(tensor.size) for name, tensor in tensors.items()}


def _damaged(folder: Path, error: BaseException) -> InputError:
    return InputError(
        f"{folder.parent}: its tables cannot be read ({reason(error)}). The folder is damaged; use another checkpoint, "
        f"such as {PREVIOUS} beside it."
    )


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


class DataWriter(dcp.FileSystemWriter):
    """Writes tensors with checksums: torch's for each tensor, and one of the metadata."""

    @override
    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        torch.serialization.set_crc32_options(True)
        return super().write_data(plan, planner)

    @override
    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        super().finish(metadata, results)
        file = Path(self.path) / METADATA
        checksum = hashlib.sha256(file.read_bytes()).digest()
        with file.open("ab") as end:
            end.write(CHECKSUM + checksum)
        sync(file)


class DataReader(dcp.FileSystemReader):
    """Reads tensors only, and compares them with their checksums.

    The metadata of ``torch.distributed.checkpoint`` is a pickle that may hold anything.
    """

    @override
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        content = (Path(self.path) / METADATA).read_bytes()
        end = len(content) - len(CHECKSUM) - hashlib.sha256().digest_size
        if content[end:].startswith(CHECKSUM):
            checksum, content = content[end + len(CHECKSUM) :], content[:end]
            if hashlib.sha256(content).digest() != checksum:
                raise ValueError(f"the checksum of {METADATA} is another")
        stream = io.BytesIO(content)
        metadata = _MetadataUnpickler(stream).load()
        if not isinstance(metadata, Metadata) or stream.read():
            raise ValueError(f"{METADATA} is not what torch writes")
        _check_files(Path(self.path), metadata)
        return metadata

    @override
    def _slice_file(self, file: IO[bytes], sinfo: Any) -> IO[bytes]:
        try:
            verify(FilePart(file, sinfo.offset, sinfo.offset + sinfo.length))
        except Exception as error:
            raise ValueError(f"{sinfo.relative_path}: {reason(error)}") from error
        return super()._slice_file(file, sinfo)


def _check_files(folder: Path, metadata: Metadata) -> None:
    """Require the files that the metadata names, as long as it says, and no others."""
    sizes: dict[str, int] = {}
    for part in metadata.storage_data.values():
        sizes[part.relative_path] = max(sizes.get(part.relative_path, 0), part.offset + part.length)
    found = {file.name: file.stat().st_size for file in folder.iterdir()}
    for name, size in sizes.items():
        if name not in found:
            raise ValueError(f"{name} is missing")
        if found[name] != size:
            raise ValueError(f"{name} has {found[name]:,} bytes instead of {size:,}")
    beside = {f"{folder.name}/{name}" for name in found.keys() - sizes.keys() - {METADATA}}
    beside |= {file.name for file in folder.parent.iterdir()} - {folder.name, MAIN_FILE}
    if extra := sorted(name for name in beside if not Path(name).name.startswith(".")):
        raise ValueError(f"{', '.join(extra)} was not written with it")
    bytes_said = sum(math.prod(t.size) * t.properties.dtype.itemsize for t in _tensors(metadata).values())
    if bytes_said > sum(sizes.values()):
        raise ValueError(f"{METADATA} says that there are {bytes_said:,} bytes in {sum(sizes.values()):,}")


def _tensors(metadata: Metadata) -> dict[str, TensorStorageMetadata]:
    return {k: entry for k, entry in metadata.state_dict_metadata.items() if isinstance(entry, TensorStorageMetadata)}
