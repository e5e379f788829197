"""Folders of sharded tables: read whole, cut anew, damaged, hostile, and killed while they are put in place."""

import itertools
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrec.modules.embedding_configs import PoolingType

from sextant.checkpoint_files import MAIN_FILE, put_in_place, take_back
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.strategies.embedding_tables import table_configs
from sextant.strategies.sharded_checkpoint import SUMS, TABLES, TableReader
from sextant.strategies.sharded_tables import LocalShard, LocalTable, Table
from sextant.strategies.table_plan import Shard, TablePlan

NAME = "tables.embedding_bags.t.weight"
ROWS, DIM = 5, 12
WEIGHT = torch.arange(60.0).reshape(ROWS, DIM)
MESH: Any = None  # not used where a file is read


def write(folder: Path, sums: torch.Tensor | None, columns: list[int], kind: str) -> Path:
    """Write a folder as a sharded run does."""
    about = {"rows": ROWS, "dim": DIM, "columns": columns, "sums": kind}
    checkpoint = {"state_dict": {"w": torch.ones(2)}, "optimizer_states": [{"state": {}}], "global_step": 9}
    AtomicCheckpointIO().save_checkpoint({**checkpoint, TABLES: {NAME: about}}, folder / MAIN_FILE)
    state = {NAME: WEIGHT.clone()} | ({} if sums is None else {NAME + SUMS: sums})
    dcp.save(state, checkpoint_id=folder / TABLES, no_dist=True)
    return folder


def cut(rectangles: list[tuple[int, int, int, int]], kind: str, sharding_type: str = "column_wise") -> LocalTable:
    """A table of which this process has rectangles: first row, first column, rows, columns."""
    (config,) = table_configs({"t": ROWS}, DIM, PoolingType.SUM)
    shards = [Shard(0, *rectangle, "rank:0/cpu") for rectangle in rectangles]
    local = [
        LocalShard(
            row,
            column,
            torch.full((rows, columns), torch.nan),
            None if kind == "none" else torch.full((rows, columns if kind == "cells" else 1), torch.nan),
        )
        for row, column, rows, columns in rectangles
    ]
    return LocalTable(Table(NAME, config, kind, True), TablePlan("tables", "t", sharding_type, "fused", shards), local)


def file_checkpoint(sums: torch.Tensor | None) -> dict[str, Any]:
    state = {} if sums is None else {NAME: {"sum": sums, "step": torch.tensor(9.0)}}
    return {"state_dict": {NAME: WEIGHT.clone(), "w": torch.ones(2)}, "optimizer_states": [{"state": state}]}


def reader(tmp_path: Path, checkpoint: dict[str, Any], reset: bool = False) -> TableReader:
    file = tmp_path / "file.ckpt"
    file.touch()
    return TableReader(file, checkpoint, [NAME], reset)


def test_whole_rows_have_the_means_of_their_parts_by_width(tmp_path: Path) -> None:
    sums = torch.rand(ROWS, 3)
    checkpoint = AtomicCheckpointIO().load_checkpoint(
        write(tmp_path, sums, [0, 2, 8], "rows")
    )  # parts of 2, 6 and 4 columns
    state = checkpoint["optimizer_states"][0]["state"][NAME]
    assert torch.allclose(state["sum"], (2 * sums[:, :1] + 6 * sums[:, 1:2] + 4 * sums[:, 2:]) / 12, rtol=1e-6)
    assert state["step"] == 9
    assert torch.equal(checkpoint["state_dict"][NAME], WEIGHT)
    assert torch.equal(checkpoint["state_dict"]["w"], torch.ones(2))
    assert TABLES not in checkpoint


@settings(deadline=None, max_examples=30)
@given(cuts=st.sets(st.integers(1, DIM - 1)), seed=st.integers(0, 99))
def test_sum_over_a_row_is_that_of_adagrad_without_parts(
    cuts: set[int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The mean square of a part's gradients, weighted by width, is that of the row."""
    gradient = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(seed))
    edges = [0, *sorted(cuts), DIM]
    sums = torch.stack([gradient[:, a:b].square().mean(1) for a, b in itertools.pairwise(edges)], 1)
    checkpoint = AtomicCheckpointIO().load_checkpoint(write(tmp_path_factory.mktemp("parts"), sums, edges[:-1], "rows"))
    whole = checkpoint["optimizer_states"][0]["state"][NAME]["sum"]
    assert torch.allclose(whole, gradient.square().mean(1, keepdim=True), rtol=1e-5)


def test_sums_of_cells_and_none_are_read_as_they_are(tmp_path: Path) -> None:
    sums = torch.rand(ROWS, DIM)
    whole = AtomicCheckpointIO().load_checkpoint(write(tmp_path / "cells", sums, [0, 6], "cells"))
    assert torch.equal(whole["optimizer_states"][0]["state"][NAME]["sum"], sums)
    assert not AtomicCheckpointIO().load_checkpoint(write(tmp_path / "none", None, [0, 6], "none"))["optimizer_states"][
        0
    ]["state"]


@pytest.mark.parametrize("kind", ["none", "cells", "rows"])
@pytest.mark.parametrize(
    "rectangles", [[(0, 0, 3, DIM)], [(1, 0, 2, DIM), (4, 0, 1, DIM)], [(5, 0, 0, DIM)], []], ids=str
)
def test_rows_of_a_file_are_cut_anew(tmp_path: Path, kind: str, rectangles: list[tuple[int, int, int, int]]) -> None:
    sums = {"none": None, "cells": torch.rand(ROWS, DIM), "rows": torch.rand(ROWS, 1)}[kind]
    checkpoint = file_checkpoint(sums)
    table = cut(rectangles, kind, "row_wise") if rectangles else cut([(0, 0, ROWS, DIM)], kind)
    if not rectangles:
        table.shards.clear()  # a process that has none of it
    assert not reader(tmp_path, checkpoint).read([table], MESH, optimizer=True)
    for shard in table.shards:
        rows = slice(shard.row, shard.row + len(shard.weight))
        assert torch.equal(shard.weight, WEIGHT[rows])
        if sums is not None:
            assert shard.sums is not None
            assert torch.equal(shard.sums, sums[rows])
    # What is read here is not read again as a part of the model.
    assert list(checkpoint["state_dict"]) == ["w"]
    assert not checkpoint["optimizer_states"][0]["state"]


def test_columns_of_a_file_are_cut_anew_with_sums_of_cells(tmp_path: Path) -> None:
    sums = torch.rand(ROWS, DIM)
    table = cut([(0, 0, ROWS, 4), (2, 4, 3, 8)], "cells")
    reader(tmp_path, file_checkpoint(sums)).read([table], MESH, optimizer=True)
    for shard, (rows, columns) in zip(
        table.shards, [(slice(0, 5), slice(0, 4)), (slice(2, 5), slice(4, 12))], strict=True
    ):
        assert shard.sums is not None
        assert torch.equal(shard.weight, WEIGHT[rows, columns])
        assert torch.equal(shard.sums, sums[rows, columns])


def test_copies_get_their_sums_from_what_is_returned(tmp_path: Path) -> None:
    sums = torch.rand(ROWS, 1)
    table = cut([(0, 0, ROWS, DIM)], "rows", "data_parallel")
    found = reader(tmp_path, file_checkpoint(sums)).read([table], MESH, optimizer=True)
    assert torch.equal(found[NAME], sums)
    assert torch.equal(table.shards[0].weight, WEIGHT)


def test_sums_of_whole_rows_are_not_cut_but_reset_if_asked_for(tmp_path: Path) -> None:
    table = cut([(0, 0, ROWS, 4), (0, 4, ROWS, 8)], "rows")
    with pytest.raises(InputError, match=r"parts begin at \[0\], those of this plan at \[0, 4\].*reset_sums=true"):
        reader(tmp_path, file_checkpoint(torch.rand(ROWS, 1))).read([table], MESH, optimizer=True)
    reader(tmp_path, file_checkpoint(torch.rand(ROWS, 1)), reset=True).read([table], MESH, optimizer=True)
    for shard in table.shards:
        assert shard.sums is not None
        assert (shard.sums == 0).all()
        assert torch.equal(shard.weight, WEIGHT[:, shard.column : shard.column + shard.weight.shape[1]])


def test_evaluation_reads_no_sums(tmp_path: Path) -> None:
    table = cut([(0, 0, ROWS, 4), (0, 4, ROWS, 8)], "rows")
    reader(tmp_path, file_checkpoint(None)).read([table], MESH, optimizer=False)
    assert torch.equal(table.shards[1].weight, WEIGHT[:, 4:])
    assert table.shards[0].sums is not None
    assert table.shards[0].sums.isnan().all()


def test_table_that_is_missing_or_of_another_size_is_named(tmp_path: Path) -> None:
    table = cut([(0, 0, ROWS, DIM)], "none")
    with pytest.raises(InputError, match=f"has no table {NAME}"):
        reader(tmp_path, {"state_dict": {}}).read([table], MESH, optimizer=False)
    with pytest.raises(InputError, match=rf"table {NAME} is 6 x 12, the model's is 5 x 12"):
        reader(tmp_path, {"state_dict": {NAME: torch.zeros(6, 12)}}).read([table], MESH, optimizer=False)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("damage", [Path.unlink, truncate, lambda file: file.write_bytes(b"")])
@pytest.mark.parametrize("name", [MAIN_FILE, f"{TABLES}/.metadata", f"{TABLES}/__0_0.distcp"])
def test_damaged_folder_is_named(tmp_path: Path, name: str, damage: Callable[[Path], Any]) -> None:
    path = write(tmp_path / "a.ckpt", torch.rand(ROWS, DIM), [0], "cells")
    damage(path / name)
    with pytest.raises(InputError, match=r"a\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_folder_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = write(tmp_path / "a.ckpt", None, [0], "none")
    (path / TABLES / ".metadata").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(InputError, match=r"a\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)
    assert not (tmp_path / "attacked").exists()


class Killed(BaseException):
    pass


def contents(path: Path) -> str:
    """What a folder holds; the second file tells whether it is whole."""
    return (path / "a").read_text() + (path / "b").read_text()


def folder(path: Path, content: str) -> None:
    path.mkdir()
    (path / "a").write_text(content)
    (path / "b").write_text(content)


@pytest.mark.parametrize("first", [None, "old", "file"])
@pytest.mark.parametrize("kills", itertools.product(range(12), repeat=2), ids=str)
def test_killed_replacement_leaves_a_whole_checkpoint(
    tmp_path: Path, first: str | None, kills: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any change of the disk, and the next save too, with and without a resume in between."""
    real = {name: getattr(os, name) for name in ("rename", "unlink", "rmdir")}
    left = [0]

    def guarded(name: str) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real[name](*args, **kwargs)

        return act

    path = tmp_path / "last.ckpt"
    if first == "old":
        folder(path, "old")
    elif first == "file":
        path.write_text("oldold")
    for number, kill in enumerate(kills):
        part = tmp_path / f".{path.name}.part"
        if part.exists():
            shutil.rmtree(part)
        folder(part, f"new{number}")
        left[0] = kill
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, guarded(name))
            try:
                put_in_place(part, path)
                killed = False
            except Killed:
                killed = True
        if not killed:
            assert contents(path) == f"new{number}" * 2
    take_back(path)
    if not path.exists():
        assert first is None
        return
    found = path.read_text() if path.is_file() else contents(path)
    assert found in ("oldold", "new0new0", "new1new1")


def test_nothing_is_taken_back_where_there_is_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    take_back(path)
    assert not path.exists()
    folder(path, "new")
    folder(tmp_path / ".last.ckpt.old", "old")
    take_back(path)
    assert contents(path) == "newnew"
    shutil.rmtree(path)
    take_back(path)
    assert contents(path) == "oldold"
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
