"""Generated clicks that are the same for any number of processes."""

from typing import Any

import lightning.pytorch as pl
import torch
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from typing_extensions import override

from sextant.data_spec import DataSpec

#: More rows than are drawn together; none that the number of processes divides; fewer rows than processes.
TABLES = {"large": 4500, "odd": 301, "small": 40, "tiny": 3}
BATCH = 48  # divides by 2, 3 and 4
DENSE = 4


class Batches(torch.utils.data.Dataset[Any]):
    """Batches that are the same for any number of processes, each of which takes every so many samples.

    Features have none to three values, also the same one twice.

    Args:
        count: how many.
        seed: of what is drawn.
        trainer: whose step says which batch is next; if None, they come in order.
        ranks: this process and the number of all.
        tables: rows of each.
    """

    def __init__(
        self, count: int, seed: int, trainer: pl.Trainer | None, ranks: tuple[int, int], tables: dict[str, int]
    ) -> None:
        self.trainer = trainer
        self.batches: list[dict[str, Any]] = []
        first, step = ranks
        draw = torch.Generator().manual_seed(seed)
        for _ in range(count):
            dense = torch.randn(BATCH, DENSE, generator=draw)
            label = torch.randint(0, 2, (BATCH,), generator=draw).float()
            values, lengths = [], []
            for rows in tables.values():
                # Half of the values are among few rows, so that rows come twice, in one sample and in several.
                counts = torch.randint(0, 4 if rows > 5 else 2, (BATCH,), generator=draw).tolist()
                few = [rows if i % 2 else min(rows, 5) for i in range(BATCH)]
                bags = [torch.randint(0, r, (n,), generator=draw) for r, n in zip(few, counts, strict=True)]
                values += bags[first::step]
                lengths += counts[first::step]
            ids = KeyedJaggedTensor(list(tables), torch.cat(values), lengths=torch.tensor(lengths))
            batch = {"dense": dense, "label": label, "weight": torch.ones(BATCH), "index": torch.arange(BATCH)}
            self.batches.append({key: value[first::step] for key, value in batch.items()} | {"sparse": ids})

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.batches[index if self.trainer is None else self.trainer.global_step % len(self)]


class Clicks(pl.LightningDataModule):
    """Ten batches an epoch, and three to validate with.

    Args:
        extra_table: one more table.
        in_order: give batches in order, as a strategy wants them that takes them ahead of their steps.
        beyond: one id of each batch is that of the row after a table's last one.
        uneven: of ``train`` or ``val``, the first process has one batch more than the others.
    """

    def __init__(self, extra_table: bool, in_order: bool, beyond: bool, uneven: str) -> None:
        super().__init__()
        self.in_order = in_order
        self.beyond = beyond
        self.uneven = uneven
        self.table_sizes = {**TABLES, **({"extra": 7} if extra_table else {})}

    def data_spec(self) -> DataSpec:
        dense = tuple(f"x{i}" for i in range(DENSE))
        return DataSpec(table_sizes=self.table_sizes, dense_features=dense)

    @override
    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        if self.beyond:
            batch["sparse"].values()[0] = TABLES["large"]  # ids of the first table come first
        return batch

    def loader(self, split: str, count: int, by_step: bool) -> torch.utils.data.DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        seed = ["train", "val"].index(split)
        count += split == self.uneven and trainer.is_global_zero
        ranks = (trainer.global_rank, trainer.world_size)
        batches = Batches(count, seed, trainer if by_step else None, ranks, self.table_sizes)
        return torch.utils.data.DataLoader(batches, batch_size=None)

    @override
    def train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        return self.loader("train", 10, not self.in_order)

    @override
    def val_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        return self.loader("val", 3, False)
