"""What a program runs on, and from which sources, in words."""

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")


def machine() -> str:
    """The cores, the processor and the GPUs."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join([f"{cores} cores of {processor()}", *gpus])


def processor() -> str:
    """The processor's name as Linux has it, or the architecture elsewhere."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def commit() -> tuple[str | None, bool]:
    """The commit that the program is of, or None, and whether its files are as they are in it."""
    folder = Path(sys.argv[0]).resolve().parent
    name, changed = _git(folder, "rev-parse", "--short", "HEAD"), _git(folder, "status", "--porcelain", "-uno")
    return name, changed == ""


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
