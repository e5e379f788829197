"""Click prediction's commands, end to end on a few rows in Criteo's format, alone and on two processes."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchmetrics.functional.classification import binary_auroc

import train
from datamodules.clicks.settings import Encoding, LogFiles
from datamodules.criteo import Criteo
from modules.dlrm import ClickPredictor
from modules.networks.dlrm import DLRMArchitecture
from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.launch import finish, start_ranks

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def words(small: Callable[[str], list[str]]) -> list[str]:
    """What all commands have in common."""
    quiet = ["--trainer.log_every_n_steps=2", "--trainer.enable_progress_bar=false"]
    return [*small("dlrm_criteo"), "--trainer.max_epochs=2", *quiet]


@pytest.fixture(scope="module")
def predicted(trained: Path, run: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The click probabilities of the test rows, by the best checkpoint."""
    output = tmp_path_factory.mktemp("predicted") / "out.csv"
    run("predict", "--ckpt_path=best", f"--predictions.output={output}")
    return read_predictions(output)


def read_predictions(file: Path) -> dict[str, float]:
    """Click probabilities by file and line."""
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert list(rows[0]) == ["file", "click_probability"]
    return {row["file"]: float(row["click_probability"]) for row in rows}


def test_board_has_losses_entropy_calibration_auc_rates_and_the_sizes_of_tables(trained: Path) -> None:
    board = EventAccumulator(str(trained), size_guidance={"tensors": 0}).Reload()
    for split in ("train", "val"):
        for name in ("loss", "normalized_entropy", "calibration"):
            assert [point.step for point in board.Scalars(f"{split}/{name}")] == [1, 2]
    assert [point.step for point in board.Scalars("val/auc")] == [1, 2]
    for name in ("train/loss_step", "gradient_norm", "throughput/samples_per_second"):
        assert [point.step for point in board.Scalars(name)] == [1, 3, 5, 7, 9]
    rates = [tag for tag in board.Tags()["scalars"] if tag.startswith("lr-")]
    assert len(rates) == 2
    # Only the dense part's optimizer has a schedule here, which is stepped after every step.
    assert sorted(len({point.value for point in board.Scalars(tag)}) for tag in rates) == [1, 5]
    summary = board.Tensors("model/tables/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "C20" in summary
    assert "dense part" in summary


def test_measured_values_are_those_of_all_rows_at_once(
    trained: Path, run: Any, criteo: Path, cache: Path, predicted: dict[str, float]
) -> None:
    measured = run("test", "--ckpt_path=best").trainer.callback_metrics
    files = LogFiles(train=["train.txt"], fractions=[0.6, 0.2, 0.2])
    encoding = Encoding(mapping="vocabulary", min_count=3, dense_transform="log1p")
    data = Criteo(str(criteo), files, table_sizes=50, encoding=encoding, cache=str(cache))
    data.setup("test")
    (batch,) = list(data.test_dataloader())
    probabilities, labels = torch.tensor(list(predicted.values())), batch["label"]
    assert len(probabilities) == 14
    losses = -torch.where(labels > 0, probabilities, 1 - probabilities).log()
    rate = labels.mean().item()
    entropy = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
    assert measured["test/loss"].item() == pytest.approx(losses.mean().item(), rel=1e-5)
    assert measured["test/normalized_entropy"].item() == pytest.approx(losses.mean().item() / entropy, rel=1e-5)
    assert measured["test/calibration"].item() == pytest.approx(probabilities.mean().item() / rate, rel=1e-5)
    assert measured["test/auc"].item() == pytest.approx(binary_auroc(probabilities, labels.int()).item(), rel=1e-6)


def test_prediction_names_each_row_and_needs_no_labels(
    run: Any, criteo: Path, predicted: dict[str, float], tmp_path: Path
) -> None:
    lines = (criteo / "train.txt").read_text().splitlines()
    assert list(predicted) == [f"{criteo / 'train.txt'}:{number}" for number in range(57, 71)]
    (tmp_path / "own.txt").write_text("\n".join(line.partition("\t")[2] for line in lines[-14:]) + "\n")
    run(
        "predict",
        "--ckpt_path=best",
        f"--data.files.predict={tmp_path / 'own.txt'}",
        f"--predictions.output={tmp_path / 'own.csv'}",
    )
    own = read_predictions(tmp_path / "own.csv")
    assert list(own) == [f"{tmp_path / 'own.txt'}:{number}" for number in range(1, 15)]
    assert list(own.values()) == pytest.approx(list(predicted.values()), rel=1e-6)


@pytest.mark.slow
def test_sharded_processes_measure_and_predict_what_one_process_does(
    trained: Path, words: list[str], predicted: dict[str, float], tmp_path: Path
) -> None:
    """Two processes, whose last batch of 14 rows is padded; the checkpoint is one of a run without sharding."""
    checkpoint = trained / "checkpoints" / "best.ckpt"
    command = ["predict", *words, f"--ckpt_path={checkpoint}", f"--predictions.output={tmp_path / 'out.csv'}"]
    finish(start_ranks(command, tmp_path, 2, tmp_path / "log", "TorchRecStrategy"), tmp_path / "log")
    both = read_predictions(tmp_path / "out.csv")
    assert list(both) == list(predicted)
    assert list(both.values()) == pytest.approx(list(predicted.values()), rel=1e-5)
    assert "Embedding tables:" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_run_of_sharded_processes_goes_on_in_one_and_is_made_one_file(
    words: list[str], run: Any, tmp_path: Path
) -> None:
    command = ["fit", *words, "--trainer.max_epochs=1", f"--config={CONFIGS / 'strategies' / 'torchrec_row_wise.yaml'}"]
    log = tmp_path / "log"
    strategy = "sextant.strategies.torchrec.TorchRecStrategy"
    finish(start_ranks(command, tmp_path, 2, log, strategy), log)
    folder = tmp_path / "logs" / "dlrm_criteo" / "version_0" / "checkpoints" / "last.ckpt"
    assert {entry.name for entry in folder.iterdir()} == {"checkpoint.ckpt", "tables"}
    train.main(["consolidate", str(folder), str(tmp_path / "one.ckpt")])
    whole, one = (AtomicCheckpointIO().load_checkpoint(path) for path in (folder, tmp_path / "one.ckpt"))
    assert whole["state_dict"].keys() == one["state_dict"].keys()
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, one["state_dict"][name])
    assert one["state_dict"]["tables.embedding_bags.C1.weight"].shape == (50, 8)
    same_log = f"--trainer.logger.save_dir={tmp_path / 'logs'}"
    cli = run("fit", f"--ckpt_path={folder}", "--settings_from=command", same_log)
    assert cli.trainer.global_step == 10
    assert folder.is_file()  # in place of the folder
    assert AtomicCheckpointIO().load_checkpoint(folder)["global_step"] == 10


@pytest.mark.parametrize(
    ("words_of_mistake", "message"),
    [
        (["--model.num_sparse=25"], r"model\.num_sparse is 25, but the data has 26 .*--model\.num_sparse=26"),
        (["--model.num_dense=3"], r"model\.num_dense is 3, but the data has 13"),
        (["--model.architecture.embedding_dim=0"], r"model\.architecture\.embedding_dim is 0; it must be 1 or more"),
        (
            [
                "--model.sparse_scheduler=lightning.pytorch.cli.ReduceLROnPlateau",
                "--model.sparse_scheduler.monitor=val/loss",
            ],
            r"give it as model\.scheduler, and leave model\.sparse_scheduler out",
        ),
        (["--model.sparse_optimizer=torch.optim.RMSprop"], "RMSprop; tables are optimized by .*RowWiseAdagrad"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_said(run: Any, words_of_mistake: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("fit", *words_of_mistake)


def test_checkpoint_of_other_tables_is_refused(trained: Path, run: Any) -> None:
    other = [f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}", "--data.table_sizes=40"]
    with pytest.raises(InputError, match=r"contradict the model.*\n  data\.table_sizes: checkpoint 50, command 40\n"):
        run("test", *other)
    with pytest.raises(InputError, match="other data: its table sizes have 50 for 'C1' where the data has 40"):
        run("test", *other, "--settings_from=command")


def test_tables_begin_with_the_same_values_whatever_else_is_drawn() -> None:
    def make() -> ClickPredictor:
        torch.manual_seed(3)
        model = ClickPredictor(2, 2, DLRMArchitecture(embedding_dim=4, bottom_mlp=(3,), top_mlp=(3,)))
        model.data_spec = DataSpec(table_sizes={"a": 9, "b": 5000}, dense_features=("x", "y"))
        model.configure_model()
        return model

    one, two = make(), make()
    torch.rand(5)
    for (name, value), other in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    rows = one.state_dict()["tables.embedding_bags.b.weight"].numpy()
    assert abs(rows).max() <= 1 / math.sqrt(5000)
    assert len(np.unique(rows, axis=0)) == 5000
