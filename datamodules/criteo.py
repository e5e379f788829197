"""Criteo's click logs as they were published: a week (Kaggle) or 24 days (1TB)."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from typing_extensions import override

from datamodules.click_log import ClickLog
from datamodules.clicks.settings import Columns, Encoding, LogFiles
from datamodules.sources.near_root import near_root
from datamodules.synthetic import criteo as synthetic_set

LABEL = "label"
DENSE = [f"I{i}" for i in range(1, 14)]
#: Different values of each category in Kaggle's ``train.txt``, as facebookresearch/dlrm counts them.
VALUES = {
    f"C{i}": values
    for i, values in enumerate(
        [
            *(1460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5683, 8_351_593, 3194),
            *(27, 14_992, 5_461_306, 10, 5652, 2173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572),
        ],
        1,
    )
}


class Criteo(ClickLog):
    """Criteo's click logs: 13 counts and 26 hexadecimal categories in files of tab-separated columns.

    Kaggle's ``train.txt`` (https://www.kaggle.com/c/criteo-display-ad-challenge) has 45,840,617 rows of seven days; the
    1TB set (https://huggingface.co/datasets/criteo/CriteoClickLogs) has a file ``day_0`` to ``day_23`` for each day,
    gzipped or not. Rows are in the order of time. The files are read as they are, and never written to.

    Args:
        root: the folder that the files are in.
        files: the files of each split.
        synthetic: use generated clicks instead, whose probabilities are known. Figures from them say nothing about
            Criteo.
        table_sizes: rows of the table of each category, C1 to C26; or one number, the most rows of any table: each
            then has one more than Kaggle's file has values, up to that.
        encoding: how values become inputs of a model.
        invalid_samples: ``error`` stops at an invalid line and names it; ``skip`` leaves invalid lines out and warns.
        cache: folder for the arrays, and for the synthetic set.
        batch_size: training rows per step over all processes.
        eval_batch_size: rows per step of an evaluation, over all processes.
        shuffle: whether training rows come in a new random order in each epoch; otherwise in that of the log.
        num_workers: processes that gather batches ahead, per training process; 0 gathers in the training process.
        seed: seed of the order and the dropouts; set by ``seed_everything``.

    Batch: as of :class:`~datamodules.click_log.ClickLog`, with 13 dense features and 26 tables.
    """

    header: ClassVar[list[str] | None] = [LABEL, *DENSE, *VALUES]
    hexadecimal = True
    cache_name = "criteo"

    model_settings = ClickLog.model_settings | {"table_sizes"}

    def __init__(
        self,
        root: str = "data/criteo",
        files: LogFiles = LogFiles(train=("train.txt",)),
        synthetic: bool = False,
        table_sizes: int | dict[str, int] = 1_000_000,
        encoding: Encoding = Encoding(mapping="vocabulary", dense_transform="log1p"),
        invalid_samples: Literal["error", "skip"] = "error",
        cache: str = "data/cache",
        batch_size: int = 2048,
        eval_batch_size: int = 16384,
        shuffle: bool = True,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        sizes = (
            {name: min(table_sizes, values + 1) for name, values in VALUES.items()}
            if isinstance(table_sizes, int)
            else table_sizes
        )
        if synthetic:
            root = str(Path(cache) / synthetic_set.FOLDER)
            files = replace(files, train=[synthetic_set.FILE], val=(), test=())
        super().__init__(
            root,
            files,
            Columns(LABEL, DENSE, sizes),
            encoding,
            invalid_samples,
            cache,
            batch_size,
            eval_batch_size,
            shuffle,
            num_workers,
            seed,
        )
        self.synthetic = synthetic

    @override
    def prepare_data(self) -> None:
        """Make the synthetic set, if it is asked for."""
        if self.synthetic:
            synthetic_set.make(self.root)

    @override
    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.synthetic:
            for split in self._sets.keys() & {"val", "test"}:
                rows = self._sets[split].portion.rows(np.arange(len(self._sets[split])))
                rank_zero_info(
                    f"The synthetic clicks allow an AUC of about {synthetic_set.best_auc(self.root, rows):.4f} on the "
                    f"{split} rows."
                )

    @override
    def missing(self, pattern: str) -> str:
        return (
            f"{self.root / pattern}: there is no such file (data.root, data.files)."
            f"{near_root(self.root, pattern)} Criteo gives its logs to those who accept its terms: a week of it "
            "(train.txt) is at "
            "https://www.kaggle.com/c/criteo-display-ad-challenge, the 1TB set (day_0 to day_23) at "
            "https://huggingface.co/datasets/criteo/CriteoClickLogs. Say where the files are with --data.root and "
            "--data.files.train, or try the program on generated clicks first with --data.synthetic=true."
        )
