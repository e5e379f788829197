"""How much memory this process takes, and how much it can have."""

import ctypes
import gc
from pathlib import Path

import torch

from sextant.errors import InputError

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BLOCK = 2**20  # bytes
MEMORY = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # of a container


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
    (line,) = [line for line in MEMORY.read_text().splitlines() if line.startswith("MemAvailable")]
    available = 1024.0 * int(line.split()[1])
    limit, used = GROUP / "memory.max", GROUP / "memory.current"
    if limit.exists() and (most := limit.read_text().strip()) != "max":
        # What files are kept in memory counts as used, and is given up when it is needed.
        kept = {"active_file", "inactive_file"}
        pages = [line.split() for line in (GROUP / "memory.stat").read_text().splitlines()]
        files = sum(int(size) for name, size in pages if name in kept)
        available = min(available, int(most) - int(used.read_text()) + files)
    return available


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
