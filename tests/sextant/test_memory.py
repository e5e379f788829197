"""What is said of memory follows what is allocated and what a container allows."""

import ctypes
import multiprocessing
import resource
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sextant import memory
from sextant.errors import InputError
from sextant.memory import PeakMemory

pytestmark = [pytest.mark.measures_memory, pytest.mark.usefixtures("memory_kept_again")]

CPU = torch.device("cpu")


def allocate(results: Connection) -> None:
    before = memory.peak_memory()
    block = torch.ones(200 * 2**20, dtype=torch.uint8)
    during = memory.peak_memory()
    del block
    results.send((before, during, memory.peak_memory()))


def test_peak_rises_with_what_is_allocated_and_stays_when_it_is_freed() -> None:
    """In a process of its own, whose peak is not that of the tests before."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=allocate, args=(theirs,))
    process.start()
    before, during, after = ours.recv()
    process.join()
    assert 190 < during - before < 250
    assert after == pytest.approx(during, abs=2)  # the system counts in steps


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files by which a system with 1000 kB of memory tells a process of its container."""
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemAvailable: 1000 kB\n")
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    (tmp_path / "memory.current").write_text("300000\n")
    (tmp_path / "memory.stat").write_text("anon 1\nactive_file 50000\ninactive_file 40000\n")
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "available"),
    [
        ("max\n", 1_024_000),
        ("500000\n", 290_000),  # files that are kept in memory are given up when it is needed
        ("9000000\n", 1_024_000),
    ],
)
def test_less_of_what_system_and_container_allow_is_available(container: Path, limit: str, available: int) -> None:
    (container / "memory.max").write_text(limit)
    assert memory.available_memory(CPU) == available


def test_available_memory_is_unlimited_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMORY", Path("/nowhere"))
    assert memory.available_memory(CPU) == float("inf")
    assert memory.available_memory(torch.device("meta")) == float("inf")


def test_peak_is_that_of_the_blocks_in_use_above_those_before() -> None:
    before = torch.ones(20 * 2**18)
    measured = PeakMemory(torch.device("cpu"))
    assert measured.peak() < 12
    block = torch.ones(50 * 2**18)
    del block
    assert 49 <= measured.peak() < 62  # but for gaps in the heap
    measured.reset()
    assert measured.peak() < 12
    assert len(before) == 20 * 2**18


def test_memory_between_blocks_that_are_in_use_is_given_back() -> None:
    def resident() -> float:
        (line,) = [line for line in memory.STATUS.read_text().splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 2**10

    PeakMemory(torch.device("cpu"))
    before = resident()
    torch.ones(10 * 2**18)  # after this, the C library by default keeps blocks of up to 10 MB
    blocks = [torch.ones(8 * 2**18) for _ in range(50)]
    del blocks[:-1]
    # Not 8 MB to the letter: gaps in the heap, which earlier tests may have left, are filled first and are kept.
    assert resident() - before < 100


def test_c_library_that_keeps_freed_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    with pytest.raises(InputError, match=r"cannot be measured here .*mallopt"):
        PeakMemory(torch.device("cpu"))


SHAPES = """
import sys
import torch
from sextant.memory import keep_few_shapes, peak_memory

if sys.argv[1] == "few":
    keep_few_shapes()
convolution = torch.nn.Sequential(torch.nn.Conv2d(1, 64, 3, 2), torch.nn.Conv2d(64, 64, 3, 2))
for length in range(300, 430):
    convolution(torch.randn(2, 1, length, 64)).sum().backward()
    if length == 320:
        before = peak_memory()
print(peak_memory() - before)
"""


@pytest.mark.slow
def test_memory_grows_little_with_the_shapes_of_batches() -> None:
    """OneDNN reads the setting once, so each is tried in a process of its own."""
    few, many = (
        float(subprocess.run([sys.executable, "-c", SHAPES, kept], capture_output=True, check=True, text=True).stdout)
        for kept in ("few", "many")
    )
    assert few < many / 2


@pytest.mark.parametrize(
    ("groups", "limit", "used", "stat"),
    [
        ("0::/job/step", "memory.max", "memory.current", "active_file"),
        ("9:cpu:/\n4:memory:/job/step", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file"),
    ],
)
def test_limits_of_all_groups_that_a_process_is_in_hold(
    container: Path, monkeypatch: pytest.MonkeyPatch, groups: str, limit: str, used: str, stat: str
) -> None:
    """As SLURM and systemd make them, within one another, of both versions."""
    (container / "groups").write_text(f"{groups}\n")
    monkeypatch.setattr(memory, "OWN_GROUPS", container / "groups")
    root = container if groups.startswith("0:") else container / "memory"
    for name, most in (("job/step", 900_000), ("job", 400_000), ("", 800_000)):
        (root / name).mkdir(parents=True, exist_ok=True)
        for file, text in ((limit, most), (used, 300_000), ("memory.stat", f"{stat} 7000")):
            (root / name / file).write_text(f"{text}\n")
    assert memory.available_memory(CPU) == 107_000


def test_limit_of_the_shell_holds(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (container / "status").write_text("VmSize:\t 600 kB\n")
    monkeypatch.setattr(memory, "STATUS", container / "status")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (700 * 1024, 700 * 1024))
    assert memory.available_memory(CPU) == 100 * 1024


def test_free_swap_is_of_the_processor(container: Path) -> None:
    assert memory.free_swap(CPU) == 0
    (container / "meminfo").write_text("SwapFree: 3 kB\n")
    assert memory.free_swap(CPU) == 3 * 1024
    assert memory.free_swap(torch.device("meta")) == 0
