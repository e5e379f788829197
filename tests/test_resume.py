"""Runs that were killed end as if they had not been, and processes share the samples without loss."""

import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.launch import finish, start, start_ranks
from tests.recording import read_batches

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
METRICS = [f"{split}/{name}" for split in ("train", "val") for name in ("loss", "accuracy", "top5")]


@pytest.fixture(scope="module")
def command(tiny_imagenet: Path, cache: Path) -> list[str]:
    """A run that draws at random wherever it can: order, augmentation, MixUp or CutMix; with a moving average."""
    return [
        "fit",
        f"--config={CONFIGS / 'resnet_tiny_imagenet.yaml'}",
        f"--data.root={tiny_imagenet}",
        f"--data.cache={cache}",
        "--data.batch_size=16",
        "--model.num_classes=10",
        "--model.stem=imagenet",
        "--trainer.max_epochs=3",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        "--trainer.callbacks+=tests.recording.RecordBatches",
        "--trainer.callbacks.folder=.",
        "--recovery_checkpoint.every_n_steps=2",
    ]


def run_folder(folder: Path) -> Path:
    return folder / "logs" / "resnet_tiny_imagenet" / "version_0"


# The run waits before its tenth step, the last of its second epoch; the eighth was the last one saved.
HOLD = "--trainer.callbacks.hold_at=9"


def kill_in_second_epoch(processes: list[ForkServerProcess], folder: Path) -> None:
    """Kill all processes of a run that waits in its second epoch."""
    deadline = time.monotonic() + 240
    for rank in range(len(processes)):
        batches: list[tuple[str, int, list[int]]] = []
        while [split for split, _, _ in batches].count("train") < 10:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            assert all(process.is_alive() for process in processes), (folder / "log").read_text()
            time.sleep(0.05)
            if (folder / f"{rank}.jsonl").exists():
                batches = read_batches(folder, rank)
    for process in processes:
        process.kill()
        process.join()
    checkpoint = torch.load(run_folder(folder) / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["TinyImageNet"] == {"epoch": 1, "batches": 3}


def assert_same_training(a: Path, b: Path) -> None:
    """Weights, averaged weights, the optimizer's state and the metrics on the board are equal bit by bit."""
    old, new = (torch.load(run_folder(f) / "checkpoints" / "last.ckpt", weights_only=True) for f in (a, b))
    for part in ("state_dict", "current_model_state"):
        assert old[part].keys() == new[part].keys()
        for name in old[part]:
            assert torch.equal(old[part][name], new[part][name]), f"{part}: {name}"
    for i, state in old["optimizer_states"][0]["state"].items():
        assert torch.equal(state["momentum_buffer"], new["optimizer_states"][0]["state"][i]["momentum_buffer"]), i
    assert old["lr_schedulers"] == new["lr_schedulers"]
    boards = [EventAccumulator(str(run_folder(folder))).Reload() for folder in (a, b)]
    for metric in METRICS:
        points = [[(point.step, point.value) for point in board.Scalars(metric)] for board in boards]
        assert points[0] == points[1], metric


@pytest.fixture(scope="module")
def whole_run(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    finish([start([*command, "--data.num_workers=0"], folder, log=folder / "log")], folder / "log")
    return folder


@pytest.fixture(scope="module")
def whole_ddp_run(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two processes."""
    folder = tmp_path_factory.mktemp("whole_ddp")
    finish(start_ranks(command, folder, 2, folder / "log"), folder / "log")
    return folder


@pytest.mark.parametrize("num_workers", [0, 2])
def test_killed_run_ends_as_if_it_had_not_been_killed(
    command: list[str], whole_run: Path, tmp_path: Path, num_workers: int
) -> None:
    words = [*command, f"--data.num_workers={num_workers}"]
    log = tmp_path / "log"
    kill_in_second_epoch([start([*words, HOLD], tmp_path, log=log)], tmp_path)
    finish([start([*words, "--ckpt_path=last"], tmp_path, log=log)], log)
    assert_same_training(whole_run, tmp_path)


def test_killed_run_of_two_processes_ends_as_if_it_had_not_been_killed(
    command: list[str], whole_ddp_run: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    kill_in_second_epoch(start_ranks([*command, HOLD], tmp_path, 2, log), tmp_path)
    finish(start_ranks([*command, "--ckpt_path=last"], tmp_path, 2, log), log)
    assert_same_training(whole_ddp_run, tmp_path)


def test_two_processes_see_each_sample_once_an_epoch_in_the_order_of_one_process(
    whole_run: Path, whole_ddp_run: Path
) -> None:
    one = read_batches(whole_run, 0)
    two = [read_batches(whole_ddp_run, rank) for rank in (0, 1)]
    assert len(one) == len(two[0]) == len(two[1]) == 3 * (5 + 3)
    for batch, *shares in zip(one, *two, strict=True):
        assert batch[:2] == shares[0][:2] == shares[1][:2]
        dealt = [index for pair in zip(shares[0][2], shares[1][2], strict=False) for index in pair]
        dealt += shares[0][2][len(shares[1][2]) :]
        assert dealt == batch[2]
    for epoch in range(3):
        seen = [index for split, of, batch in one if (split, of) == ("train", epoch) for index in batch]
        assert sorted(seen) == list(range(80))
        assert seen != list(range(80))
        validated = [index for split, of, batch in one if (split, of) == ("val", epoch) for index in batch]
        assert validated == list(range(40))
