"""Write what predict_step returns to a CSV, JSON Lines or Parquet file, one row per sample."""

import fcntl
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from typing_extensions import override

from sextant.atomic_folder import whole_file
from sextant.cli.predictions.formats import FORMATS, TABLES, check_columns, check_format, to_json
from sextant.cli.predictions.sorted_lines import NumberedLines, SortedLines
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError, on_first_process
from sextant.files.location import RemotePath, location, seems_there
from sextant.lightning_internals import datamodule_of


class PredictionWriter(Callback):
    """A file of predictions: the rows that ``predict_step`` returns, in the order of the data.

    ``predict_step`` returns a list of dictionaries with the same keys, one per sample of the batch, or None for a
    sample that pads the batch; the DataModule's ``sample_names`` gives the column ``file`` in front of them.
    Tensors among the values are for other callbacks and are left out. In a CSV file, lists and dictionaries are written
    as JSON.

    Any number of rows takes the same memory. Each process writes its rows to files of its own as they come, in whatever
    order (:class:`~sextant.cli.predictions.sorted_lines.NumberedLines`); at the end the first process merges them into
    a temporary file, which is flushed to the disk and renamed. ``output`` is complete or as it was, however the run
    ends; what a killed run leaves is removed by the next one that has the same ``output``.

    Args:
        output: the file: CSV, JSON Lines or Parquet as its name ends in ``.csv``, ``.jsonl`` or ``.parquet``. Several
            processes must see the same file system. For a URL, such as ``s3://bucket/clicks.parquet``, the rows wait
            in the folder for temporary files of this machine.
        overwrite: replace a file that is there.

    Raises:
        InputError: in ``setup``, in all processes, if the file exists, has another ending or cannot be written where it
            is, or another run is writing it; or in ``predict``, if rows cannot be written or do not make a table.
    """

    def __init__(self, output: str = "predictions.csv", overwrite: bool = False) -> None:
        self.output = location(output)
        self.overwrite = overwrite
        self._rows: NumberedLines | None = None
        self._columns: list[str] = []
        self._lock: TextIO | None = None  # of the first process: its system gives it free however it ends
        self._parts = Path()  # where the rows wait

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "predict":
            return
        on_first_process(trainer, self._make_room)
        self._parts = Path(trainer.strategy.broadcast(str(self._parts)))
        if not trainer.strategy.reduce_boolean_decision(self._parts.is_dir(), all=True):
            raise InputError(
                f"{self.output}: not every process sees its folder, so their predictions cannot be put together. On "
                "several nodes give a --predictions.output in a folder that all share."
            )
        self._rows = NumberedLines(self._parts, str(trainer.global_rank))
        self._columns = []

    def _make_room(self) -> None:
        """Look whether the file can be written, and make an empty folder for the rows."""
        try:
            if self.output.is_dir():
                raise InputError(f"{self.output}: it is a folder. Name a file with --predictions.output.")
            check_format(self.output)
            self._refuse_existing()
            if isinstance(self.output, RemotePath):
                self.output.parent.try_writing()
                self._parts = Path(tempfile.mkdtemp(prefix="sextant-"))
            else:
                self._parts = self.output.parent / f".{self.output.name}.parts"
                self._parts.mkdir(parents=True, exist_ok=True)
            lock = (self._parts / "lock").open("a")
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.close()
                raise InputError(
                    f"{self.output}: another run is writing it. Wait for its end, or give another --predictions.output."
                ) from error
            except OSError:
                pass  # a file system without locks
            self._lock = lock
            for left_behind in self._parts.iterdir():  # by a run that was killed
                if left_behind.name != "lock":
                    left_behind.unlink()
        except OSError as error:
            raise InputError(
                f"{self.output}: cannot write there ({error}). Choose another --predictions.output."
            ) from error

    def _refuse_existing(self) -> None:
        if self.output.exists() and not self.overwrite:
            raise InputError(
                f"{self.output}: it exists already. Give another --predictions.output, or replace it with "
                "--predictions.overwrite=true."
            )

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
        assert self._rows is not None
        names = data.sample_names(batch)
        with self._saying_what_failed():
            for index, name, row in zip(batch["index"].tolist(), names, outputs, strict=True):
                if row is not None:
                    self._rows.add(index, self._encode({"file": name, **row}))

    def _encode(self, row: dict[str, Any]) -> bytes:
        row = {key: value for key, value in row.items() if not isinstance(value, Tensor)}
        self._columns = self._columns or list(row)
        if self.output.suffix in TABLES:  # said here already, not after hours
            check_columns(row, self._columns)
        return to_json(row)

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._rows is not None
        with self._saying_what_failed():
            self._rows.flush()
        trainer.strategy.barrier("prediction rows")
        if not trainer.is_global_zero:
            return
        with self._saying_what_failed(), whole_file(self.output) as whole:
            with whole.open("wb") as file:
                count = FORMATS[self.output.suffix](SortedLines(self._parts), file)
            self._refuse_existing()  # it may have been made by now
        rank_zero_info(f"{count} predictions are in {self.output}")

    @contextmanager
    def _saying_what_failed(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            kept = "What was there is as it was." if seems_there(self.output) else "No file was left behind."
            raise InputError(
                f"{self.output}: the predictions could not be written ({error}). {kept} Free some space, or choose "
                "another --predictions.output."
            ) from error

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._clear()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._clear()

    def _clear(self) -> None:
        self._rows = None
        if self._lock is not None:
            shutil.rmtree(self._parts, ignore_errors=True)
            self._lock.close()
            self._lock = None
