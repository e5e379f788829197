"""Batches of a click log, in training and in evaluation."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.datamodules.click_log.small_logs import TABLES, log
from tests.datamodules.recorder import Recorder, bare_trainer


def test_batch_is_what_models_expect(root: Path) -> None:
    data = log(root, shuffle=True, fractions=(0.8, 0.2, 0))
    data.setup("fit")
    loader = data.train_dataloader()
    assert len(loader) == 6
    for batch in loader:
        assert batch["dense"].dtype == batch["label"].dtype == batch["weight"].dtype == torch.float32
        assert batch["dense"].shape == (8, 1)
        assert batch["index"].dtype == torch.int64
        assert batch["label"].shape == batch["weight"].shape == batch["index"].shape == (8,)
        assert set(batch["label"].tolist()) <= {0, 1}
        sparse = batch["sparse"]
        assert sparse.keys() == list(TABLES) == list(data.table_sizes)
        assert sparse.stride() == 8
        assert sparse.lengths().dtype == sparse.values().dtype == torch.int32
    assert data.dense_features == ["price"]


def test_epochs_of_training_differ_and_are_shuffled(root: Path) -> None:
    data = log(root, shuffle=True, batch_size=7, seed=5)
    data.setup("fit")
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        epochs.append([i for batch in loader for i in batch["index"].tolist()])
        assert len(set(epochs[-1])) == len(epochs[-1]) == 42
    assert len({str(order) for order in epochs}) == 3
    assert len({frozenset(order) for order in epochs}) == 3, "other rows are left out"


def test_workers_give_the_batches_that_the_process_itself_gives(root: Path) -> None:
    found = []
    for num_workers in (0, 2):
        data = log(root, num_workers=num_workers, fractions=(0.4, 0.6, 0))
        data.setup("fit")
        found.append([(b["index"].tolist(), b["sparse"].values().tolist()) for b in data.val_dataloader()])
    assert found[0] == found[1]
    dataset: Any = data.val_dataloader().dataset
    columns = pickle.loads(pickle.dumps(dataset.columns))
    assert columns.dense(np.arange(3)).shape == (3, 1)


def test_padding_of_a_batch_has_no_weight(root: Path) -> None:
    data = log(root, fractions=(0.3, 0.7, 0))
    data.setup("validate")
    rows: Any = data.val_dataloader().dataset
    batch = rows[np.array([3, 5, ~5])]
    assert batch["weight"].tolist() == [1, 1, 0]
    assert batch["index"].tolist() == [3, 5, 5]


def test_names_of_rows_in_a_fit_are_those_of_its_splits(root: Path, tmp_path: Path) -> None:
    data = log(root)
    trainer = bare_trainer(tmp_path, max_epochs=1)
    names = []

    class Namer(Recorder):
        def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
            names.append(("train", data.sample_names(batch)[0]))
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
            names.append(("val", data.sample_names(batch)[0]))

    trainer.fit(Namer(), data)
    assert ("train", f"{root / 'rows.csv'}:2") in names
    assert names.count(("val", f"{root / 'rows.csv'}:50")) == 2  # the sanity check's too


def test_killed_epoch_is_gone_on_with(root: Path, tmp_path: Path) -> None:
    whole, killed = Recorder(), Recorder()
    bare_trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(whole, log(root, shuffle=True))
    bare_trainer(tmp_path, max_steps=8, limit_val_batches=0).fit(killed, log(root, shuffle=True))
    data = log(root, shuffle=True)
    data.load_state_dict(killed.positions[-1])
    data.setup("fit")
    remaining = [batch["index"].tolist() for batch in data.train_dataloader()]
    assert killed.positions[-1] == {"epoch": 1, "done": [[2, 1]]}
    assert killed.batches + remaining == whole.batches
