"""How much memory this process takes."""

from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> float:
    """The most resident memory that this process has had, in MB (2^20 bytes); on Linux."""
    # getrusage would give the parent's peak where that was higher.
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**10
