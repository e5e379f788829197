"""Numbered lines that several processes write."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.cli.predictions import sorted_lines
from sextant.cli.predictions.sorted_lines import NumberedLines, SortedLines

Numbers = st.lists(st.integers(0, 50), max_size=40)


def written(folder: Path, *processes: list[int]) -> SortedLines:
    """Lines that say their number, their process and the how manieth of the process they are."""
    for name, numbers in enumerate(processes):
        lines = NumberedLines(folder, str(name))
        for count, number in enumerate(numbers):
            lines.add(number, f"{number}\t{name} {count} é".encode())
        lines.flush()
    return SortedLines(folder)


@given(st.lists(Numbers, max_size=5), st.sampled_from([1, 1000, 10**6]), st.sampled_from([2, 100]))
def test_lines_come_in_the_order_of_their_numbers_each_time(processes: list[list[int]], held: int, merged: int) -> None:
    """Whatever order they were written in, and however many are held or files merged at a time."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(sorted_lines, "HELD", held)
        patch.setattr(sorted_lines, "MERGED", merged)
        lines = written(Path(folder), *processes)
        found = [line.decode() for line in lines]
        assert list(lines) == [line.encode() for line in found]
    expected = [f"{n}\t{name} {i} é" for name, numbers in enumerate(processes) for i, n in enumerate(numbers)]
    assert sorted(found) == sorted(expected)
    numbers = [int(line.partition("\t")[0]) for line in found]
    assert numbers == sorted(numbers)


def test_lines_in_order_are_one_file_for_each_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_lines, "HELD", 1000)
    written(tmp_path, list(range(0, 200, 2)), list(range(1, 200, 2)))
    assert len(list(tmp_path.iterdir())) == 2
