"""Tables that cannot fit are refused with the numbers, before anything is allocated, by every command."""

import re
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from sextant import memory
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.launch import start, start_ranks
from train import main

COLUMNS = 8192  # of as many rows as the published data has values: 1,030 GB
TORCHREC = ["--trainer.strategy=sextant.strategies.torchrec.TorchRecStrategy", "--trainer.strategy.memory_gb=4000"]
AVERAGE = "--trainer.callbacks+=callbacks.weight_averaging.EMAWeightAveraging"
SMALL = ["--data.table_sizes=50", "--model.architecture.embedding_dim=8"]
RANDOM = "--random_weights=true"


@pytest.fixture
def arguments(small: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Click prediction on a few rows of data, with tables that no machine has room for, on one with 2 GB."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    (tmp_path / "meminfo").write_text("MemAvailable: 2097152 kB\n")
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "meminfo")
    fast = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    large = ["--data.table_sizes=1000000000", f"--model.architecture.embedding_dim={COLUMNS}"]
    return [*small("dlrm_criteo"), *large, "--data.encoding.mapping=hash", *fast]


@pytest.mark.parametrize(
    ("command", "more", "needed"),
    [
        ("fit", [], r"1,\d+\.\d+ GB \(1,\d+\.\d+ GB for the tables, 0\.13 GB for their optimizer's state\)"),
        (
            "fit",
            [AVERAGE],
            r"2,\d+\.\d+ GB .*, 1,\d+\.\d+ GB for their average\)",
        ),
        ("validate", [RANDOM], r"1,\d+\.\d+ GB \(1,\d+\.\d+ GB for the tables\)"),
        ("predict", [RANDOM], r"1,\d+\.\d+ GB \(1,\d+\.\d+ GB for the tables\)"),
        ("export", [RANDOM, "--format=onnx", "--output=x.onnx"], r"1,\d+\.\d+ GB \(1,\d+\.\d+ GB for the tables\)"),
    ],
)
def test_tables_that_cannot_fit_are_refused_with_the_numbers(
    arguments: list[str], command: str, more: list[str], needed: str
) -> None:
    with pytest.raises(InputError, match=rf"needs? {needed}, and 2\.00 GB are available.* fewer rows"):
        main([command, *arguments, *more])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "TorchRecStrategy"])
def test_processes_that_share_the_memory_are_refused_together(
    arguments: list[str], tmp_path: Path, strategy: str
) -> None:
    processes = start_ranks(["fit", *arguments], tmp_path, 2, tmp_path / "log", strategy)
    log = refused(processes, tmp_path / "log")
    assert "the 2 processes need" in log or "the tables do not fit" in log


@pytest.mark.slow
def test_shards_of_a_plan_with_more_memory_than_there_is_are_refused(arguments: list[str], tmp_path: Path) -> None:
    log = refused([start(["fit", *arguments, *TORCHREC], tmp_path, log=tmp_path / "log")], tmp_path / "log")
    assert re.search(r"the run needs 1,\d+\.\d+ GB .*optimizer's state\), and 2\.00 GB are available", log), log


def refused(processes: Sequence[ForkProcess], log: Path) -> str:
    """What processes say that end with an error."""
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [1] * len(processes)
    text = log.read_text()
    assert "Traceback" not in text
    return text


def test_model_with_a_tensor_that_cannot_fit_is_refused_before_it_is_made(arguments: list[str]) -> None:
    with pytest.raises(InputError, match=r"one of its tensors takes \d+\.\d+ GB, and 2\.00 GB are available"):
        main(
            [
                "fit",
                *arguments,
                "--data.table_sizes=50",
                "--model.architecture.embedding_dim=8",
                "--model.architecture.top_mlp=[400000,400000]",
            ]
        )


def test_average_of_tables_that_fit_is_kept(arguments: list[str], tmp_path: Path) -> None:
    main(["fit", *arguments, *SMALL, AVERAGE, "--trainer.limit_train_batches=3"])
    (last,) = tmp_path.rglob("last.ckpt")
    checkpoint = AtomicCheckpointIO().load_checkpoint(last)
    name = "tables.embedding_bags.C1.weight"
    average, weights = (checkpoint[part][name] for part in ("state_dict", "current_model_state"))
    assert average.shape == weights.shape == (50, 8)
    assert not average.equal(weights)


def test_average_of_sharded_tables_is_refused(arguments: list[str]) -> None:
    with pytest.raises(InputError, match="EMAWeightAveraging would copy the whole tables on each process"):
        main(["fit", *arguments, *SMALL, *TORCHREC, AVERAGE])
