"""Small click logs with known rows, as CSV and Parquet files."""

import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.click_log import ClickLog
from datamodules.clicks.settings import Columns, Encoding, LogFiles

TABLES = {"site": 12, "tags": 40, "ad": 9}
Row = tuple[int, float | None, str | None, list[str], int]  # click, price, site, tags, ad


def draw_rows(count: int, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [
        (
            draw.randrange(2),
            draw.choice([None, round(draw.uniform(0, 9), 3)]),
            draw.choice([None, "a", "b", "c", "dd"]),
            [f"t{draw.randrange(20)}" for _ in range(draw.randrange(4))],
            draw.randrange(5),
        )
        for _ in range(count)
    ]


def write_csv(file: Path, rows: list[Row]) -> Path:
    lines = ["ad,click,price,site,unused,tags"]
    for click, price, site, tags, ad in rows:
        lines.append(f"{ad},{click},{'' if price is None else price},{site or ''},x,{'|'.join(tags)}")
    file.write_text("\n".join(lines) + "\n")
    return file


def write_parquet(file: Path, rows: list[Row]) -> Path:
    names = ["click", "price", "site", "tags", "ad"]
    columns: dict[str, Any] = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), file, row_group_size=13)
    return file


def log(root: Path, **options: Any) -> ClickLog:
    """The data of the files in a folder; settings of all groups are given side by side."""
    fixed: dict[str, Any] = {
        "train": ["rows.csv"],
        "label": "click",
        "dense": ["price"],
        "table_sizes": TABLES,
        "multi_valued": ["tags"],
        "cache": str(root / "cache"),
        "batch_size": 8,
        "eval_batch_size": 8,
        "shuffle": False,
    }
    given = fixed | options
    groups = {
        name: group(**{each.name: given.pop(each.name) for each in fields(group) if each.name in given})
        for name, group in {"files": LogFiles, "columns": Columns, "encoding": Encoding}.items()
    }
    return ClickLog(root=str(root), **groups, **given)


def values_of(rows: list[Row]) -> dict[str, list[list[Any]]]:
    """The values of each table, row by row."""
    return {"site": [[row[2]] for row in rows], "tags": [[*row[3]] for row in rows], "ad": [[row[4]] for row in rows]}


def rows_of(data: ClickLog, split: str) -> list[tuple[Any, ...]]:
    """All rows of a split with weight: label, number, and the ids by table."""
    loader = {"val": data.val_dataloader, "test": data.test_dataloader, "predict": data.predict_dataloader}[split]()
    found = []
    for batch in loader:
        by_table = {name: ids.to_dense() for name, ids in batch["sparse"].to_dict().items()}
        for i, weight in enumerate(batch["weight"].tolist()):
            if weight:
                ids = [tuple(by_table[name][i].tolist()) for name in TABLES]
                label = batch["label"][i].item() if "label" in batch else None
                found.append((label, batch["dense"][i].tolist(), *ids))
    return found
