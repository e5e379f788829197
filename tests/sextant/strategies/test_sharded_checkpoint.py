"""Folders of sharded tables, read whole."""

import itertools
import re
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.checkpoint_files import MAIN_FILE
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.strategies.sharded_checkpoint import TABLES, check_tables
from sextant.strategies.tensor_files import DataWriter

NAME = "tables.embedding_bags.t.weight"
ROWS, DIM = 5, 12
WEIGHT = torch.arange(60.0).reshape(ROWS, DIM)


load = AtomicCheckpointIO().load_checkpoint


def write(folder: Path, kept: torch.Tensor | None, columns: list[int], kind: str) -> Path:
    """Write a folder as a sharded run does."""
    about = {"rows": ROWS, "dim": DIM, "columns": columns, "sums": kind}
    checkpoint = {"state_dict": {"w": torch.ones(2)}, "optimizer_states": [{"state": {}}], "global_step": 9}
    AtomicCheckpointIO().save_checkpoint({**checkpoint, TABLES: {NAME: about}}, folder / MAIN_FILE)
    state = {NAME: WEIGHT.clone()} | ({} if kept is None else {NAME + ".sum": kept})
    dcp.save(state, storage_writer=DataWriter(folder / TABLES), no_dist=True)
    return folder


def test_whole_rows_have_the_means_of_their_parts_by_width(tmp_path: Path) -> None:
    kept = torch.rand(ROWS, 3)
    checkpoint = load(write(tmp_path, kept, [0, 2, 8], "rows"))  # parts of 2, 6 and 4 columns
    state = checkpoint["optimizer_states"][0]["state"][NAME]
    assert torch.allclose(state["sum"], (2 * kept[:, :1] + 6 * kept[:, 1:2] + 4 * kept[:, 2:]) / 12, rtol=1e-6)
    assert state["step"] == 9
    assert torch.equal(checkpoint["state_dict"][NAME], WEIGHT)
    assert torch.equal(checkpoint["state_dict"]["w"], torch.ones(2))
    assert TABLES not in checkpoint


@settings(deadline=None, max_examples=30)
@given(splits=st.sets(st.integers(1, DIM - 1)), seed=st.integers(0, 99))
def test_state_of_a_row_is_that_of_adagrad_without_parts(
    splits: set[int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The mean square of a part's gradients, weighted by width, is that of the row."""
    gradient = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(seed))
    edges = [0, *sorted(splits), DIM]
    kept = torch.stack([gradient[:, a:b].square().mean(1) for a, b in itertools.pairwise(edges)], 1)
    checkpoint = load(write(tmp_path_factory.mktemp("parts"), kept, edges[:-1], "rows"))
    whole = checkpoint["optimizer_states"][0]["state"][NAME]["sum"]
    assert torch.allclose(whole, gradient.square().mean(1, keepdim=True), rtol=1e-5)


def test_state_of_cells_and_none_is_read_as_it_is(tmp_path: Path) -> None:
    kept = torch.rand(ROWS, DIM)
    whole = load(write(tmp_path / "cells", kept, [0, 6], "cells"))
    assert torch.equal(whole["optimizer_states"][0]["state"][NAME]["sum"], kept)
    assert not load(write(tmp_path / "none", None, [0, 6], "none"))["optimizer_states"][0]["state"]


@pytest.mark.parametrize(("kind", "size"), [("cells", (ROWS, DIM)), ("rows", (ROWS, 2))])
@pytest.mark.parametrize("found", [None, (ROWS, 1), (ROWS - 1, DIM)], ids=["none", "narrow", "short"])
def test_folder_without_the_optimizer_states_that_it_is_said_to_have_is_refused_before_it_is_read(
    tmp_path: Path, kind: str, size: tuple[int, int], found: tuple[int, int] | None
) -> None:
    path = write(tmp_path / "a.ckpt", None if found is None else torch.rand(found), [0, 6], kind)
    said = rf"a\.ckpt: .* {re.escape(NAME)}\.sum is {re.escape(str(size))}, by its files {re.escape(str(found))}"
    with pytest.raises(InputError, match=said):
        check_tables(path, load(path / MAIN_FILE))
    with pytest.raises(InputError, match=said):
        load(path)
