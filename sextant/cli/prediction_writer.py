"""Write what predict_step returns to a CSV or JSON Lines file, one row per sample."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from typing_extensions import override

from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.lightning_internals import datamodule_of

#: A name of a file that is not UTF-8 has its bytes as ``\\udcXX``, which JSON reads back as the same name.
TEXT: Any = {"encoding": "utf-8", "errors": "backslashreplace"}


class PredictionWriter(Callback):
    """A file of predictions: the rows that ``predict_step`` returns, in the order of the data.

    ``predict_step`` returns a list of dictionaries with the same keys, one per sample of the batch, or None for a
    sample that pads the batch; the DataModule's ``sample_names`` gives the column ``file`` in front of them.
    Tensors among the values are for other callbacks and are left out. In a CSV file, lists and dictionaries are written
    as JSON. Each process writes its rows to a file of its own as they come; at the end they are merged into a temporary
    file that is renamed, so that ``output`` is either complete or unchanged.

    Args:
        output: the file: JSON Lines if its name ends in ``.jsonl``, CSV otherwise. Several processes must see the same
            file system.
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
            if self.output.is_dir():
                raise InputError(f"{self.output}: it is a folder. Name a file with --predictions.output.")
            try:
                shutil.rmtree(self._parts, ignore_errors=True)  # of a run that was killed
                self._parts.mkdir(parents=True)
            except OSError as error:
                raise InputError(
                    f"{self.output}: cannot write there ({error}). Choose another --predictions.output."
                ) from error
        trainer.strategy.barrier("prediction parts")
        self._rows = (self._parts / f"{trainer.global_rank}.jsonl").open("w", **TEXT)

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
        data = datamodule_of(trainer)
        assert isinstance(data, BaseDataModule)  # the command line takes no other
        for index, name, row in zip(batch["index"].tolist(), data.sample_names(batch), outputs, strict=True):
            if row is not None:
                values = {key: value for key, value in row.items() if not isinstance(value, Tensor)}
                self._rows.write(json.dumps([index, {"file": name, **values}], ensure_ascii=False) + "\n")

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows.close()
        trainer.strategy.barrier("prediction rows")
        if not trainer.is_global_zero:
            return
        rows: list[tuple[int, dict[str, Any]]] = []
        for part in self._parts.glob("*.jsonl"):
            with part.open(encoding="utf-8") as lines:
                rows += [json.loads(line) for line in lines]
        rows.sort(key=lambda row: row[0])
        merged = self._parts / "merged"
        write = _write_json_lines if self.output.suffix == ".jsonl" else _write_csv
        write(merged, [row for _, row in rows])
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


def _write_json_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", **TEXT) as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_csv(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="", **TEXT) as table:
        writer = csv.writer(table)
        writer.writerow(rows[0] if rows else [])
        for row in rows:
            writer.writerow(
                json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
                for value in row.values()
            )
