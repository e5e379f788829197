"""How much memory this process takes, and how much it can have."""

import ctypes
import gc
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

from sextant.errors import InputError

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BLOCK = 2**20  # bytes
MEMORY = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # of a container
KEPT_OPERATIONS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"  # of oneDNN, which reads it at its first operation
OWN_GROUPS = Path("/proc/self/cgroup")


def peak_memory() -> float:
    """The most resident memory that this process has had, in MB (2^20 bytes); on Linux."""
    # getrusage would give the parent's peak where that was higher.
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**10


def available_memory(device: torch.device) -> float:
    """The bytes that can still be allocated on a device; infinite where the system does not tell."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu" or not MEMORY.exists():
        return float("inf")
    available = _system_memory("MemAvailable")
    for group in _groups():
        available = min(available, _left_in(group))
    most, _ = resource.getrlimit(resource.RLIMIT_AS)  # ulimit -v
    if most != resource.RLIM_INFINITY and STATUS.exists():
        (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmSize")]
        available = min(available, most - 1024.0 * int(line.split()[1]))
    return max(0.0, available)


def free_swap(device: torch.device) -> float:
    """The bytes of a processor's memory that can still be moved to a disk."""
    return _system_memory("SwapFree") if device.type == "cpu" and MEMORY.exists() else 0.0


def _system_memory(what: str) -> float:
    lines = [line for line in MEMORY.read_text().splitlines() if line.startswith(what)]
    return 1024.0 * int(lines[0].split()[1]) if lines else 0.0


def _groups() -> Iterator[Path]:
    """The folders of the control groups that this process is in, of either version, from the innermost on."""
    for line in OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.exists() else ["0::/"]:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = GROUP / "memory" if controllers else GROUP
        inner = root if ".." in path else root / path.lstrip("/")  # of a group that is not to be seen from here
        yield from (inner, *(folder for folder in inner.parents if root in (folder, *folder.parents)))


def _left_in(group: Path) -> float:
    """The bytes that a control group allows beyond those in use; infinite where it has no limit."""
    for limit, used, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        if (group / limit).exists() and (most := (group / limit).read_text().strip()) != "max":
            # What files are kept in memory counts as used, and is given up when it is needed.
            kept = {f"{prefix}active_file", f"{prefix}inactive_file"}
            pages = [line.split() for line in (group / "memory.stat").read_text().splitlines()]
            files = sum(int(size) for name, size in pages if name in kept)
            return float(int(most) - int((group / used).read_text()) + files)
    return float("inf")


def keep_few_shapes() -> None:
    """Keep convolutions on the CPU that are prepared for a shape for the last few shapes only.

    For data whose batches are hardly ever of the same shape, before the first of them is computed. oneDNN keeps 1,024
    prepared operations, which lie in memory between ever more gaps that nothing else fits into.
    """
    os.environ.setdefault(KEPT_OPERATIONS, "64")


class PeakMemory:
    """The peak of the memory in use above what was in use at first.

    The memory is that of a GPU, or the resident memory of the process. For the latter, large blocks are given back to
    the system as soon as they are freed, until the process ends. By default the C library keeps them for others of
    their size; with ever new lengths of batches, resident memory then grows for hundreds of steps to more than twice of
    what is in use. Blocks that fit into a gap of the heap are not given back before the next :meth:`reset`, so the peak
    can be too high by the size of these gaps.

    Args:
        device: a GPU, or the CPU.

    Raises:
        InputError: memory cannot be measured here.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0.0
        self.reset()
        self._before = self.peak()

    def reset(self) -> None:
        """Give back what is not in use any more, and measure the peak from here on."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
            library.malloc_trim(0)
            CLEAR_REFS.write_text("5")  # the peak of resident memory becomes what is resident now
        except (OSError, AttributeError) as error:
            raise InputError(
                f"Resident memory cannot be measured here ({error}): that takes Linux, the GNU C library, and "
                f"permission to write {CLEAR_REFS}."
            ) from error

    def peak(self) -> float:
        """The peak since the last :meth:`reset`, in MB (2^20 bytes)."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20 - self._before
        return peak_memory() - self._before
