"""How much memory this process takes, and how much it can have."""

from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
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
