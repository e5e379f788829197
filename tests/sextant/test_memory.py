"""What is said of memory follows what is allocated and what a container allows."""

import ctypes
import multiprocessing
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
