"""Write what predict_step returns to a CSV file, one row per sample."""

import csv
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from typing_extensions import override

from trainer.errors import InputError


class PredictionWriter(Callback):
    """Write the rows that ``predict_step`` returns to a CSV file, in the order of the data.

    ``predict_step`` returns a list of dictionaries with the same keys, one per sample of the batch; the DataModule's
    ``sample_names`` gives the column ``file`` in front of them. Each process writes its rows to a file of its own as
    they come; at the end they are merged into a temporary file that is renamed, so that ``output`` is whole or as it
    was before.

    Args:
        output: the CSV file. Several processes must see the same file system.
    """

    def __init__(self, output: str = "predictions.csv") -> None:
        self.output = Path(output)
        self._rows: Any = None

    @property
    def _parts(self) -> Path:
        return self.output.parent / f".{self.output.name}.parts"

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            try:
                shutil.rmtree(self._parts, ignore_errors=True)  # of a run that was killed
                self._parts.mkdir(parents=True)
            except OSError as error:
                raise InputError(
                    f"{self.output}: cannot write there ({error}). Choose another --predictions.output."
                ) from error
        trainer.strategy.barrier("prediction parts")
        self._rows = (self._parts / f"{trainer.global_rank}.csv").open("w", newline="", encoding="utf-8")

    @override
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        names = trainer.datamodule.sample_names(batch)  # type: ignore[attr-defined]
        write = csv.writer(self._rows).writerow
        for index, name, row in zip(batch["index"].tolist(), names, outputs, strict=True):
            if self._rows.tell() == 0:
                write(["index", "file", *row])
            write([index, name, *row.values()])

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows.close()
        trainer.strategy.barrier("prediction rows")
        if not trainer.is_global_zero:
            return
        rows: list[list[str]] = []
        for part in self._parts.glob("*.csv"):
            with part.open(newline="", encoding="utf-8") as file:
                header, *part_rows = csv.reader(file)
                rows += part_rows
        rows.sort(key=lambda row: int(row[0]))
        merged = self._parts / "merged"
        with merged.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header[1:], *(row[1:] for row in rows)])
        merged.replace(self.output)
        rank_zero_info(f"{len(rows)} predictions are in {self.output}")

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._clear(trainer)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._clear(trainer)

    def _clear(self, trainer: Trainer) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None
            if trainer.is_global_zero:
                shutil.rmtree(self._parts, ignore_errors=True)
