"""What a benchmark ran on, in one line."""

import os
import platform
from pathlib import Path

import torch


def describe(data: str) -> str:
    """Say which hardware, which torch and which data the figures below the line are from.

    Args:
        data: what was read, beginning with ``real`` or ``SYNTHETIC``.
    """
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    hardware = ", ".join([f"{len(os.sched_getaffinity(0))} cores of {processor()}", *gpus])
    return f"Hardware: {hardware}; torch {torch.__version__}; data: {data}"


def processor() -> str:
    """The processor's name as Linux has it, or the architecture elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
