"""Runs that were killed end as if they had not been."""

import time
from pathlib import Path

import pytest
import torch

from tests.launch import finish, start, start_ranks

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


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
        "--recovery_checkpoint.every_n_steps=1",
    ]


def last_checkpoint(folder: Path) -> Path:
    return folder / "logs" / "resnet_tiny_imagenet" / "version_0" / "checkpoints" / "last.ckpt"


def kill_in_second_epoch(processes: list, checkpoint: Path, log: Path) -> None:
    """Kill all processes after some steps of the second epoch of five steps were saved."""
    deadline = time.monotonic() + 240
    seen = 0
    while seen < 8:
        assert time.monotonic() < deadline, log.read_text()
        assert any(p.is_alive() for p in processes), log.read_text()
        time.sleep(0.005)
        if checkpoint.exists():
            seen = torch.load(checkpoint, weights_only=True, mmap=True)["global_step"]
    for process in processes:
        process.kill()
        process.join()
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["TinyImageNet"]["epoch"] == 1
    assert saved["TinyImageNet"]["batches"] > 0, "not killed within an epoch"


def assert_same_training(a: Path, b: Path) -> None:
    """Weights, averaged weights and the optimizer's state are equal bit by bit."""
    old, new = (torch.load(path, weights_only=True) for path in (a, b))
    for part in ("state_dict", "current_model_state"):
        assert old[part].keys() == new[part].keys()
        for name in old[part]:
            assert torch.equal(old[part][name], new[part][name]), f"{part}: {name}"
    for i, state in old["optimizer_states"][0]["state"].items():
        assert torch.equal(state["momentum_buffer"], new["optimizer_states"][0]["state"][i]["momentum_buffer"]), i
    assert old["lr_schedulers"] == new["lr_schedulers"]


@pytest.fixture(scope="module")
def whole_run(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    finish([start([*command, "--data.num_workers=0"], folder, log=folder / "log")], folder / "log")
    return last_checkpoint(folder)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_killed_run_ends_as_if_it_had_not_been_killed(
    command: list[str], whole_run: Path, tmp_path: Path, num_workers: int
) -> None:
    log = tmp_path / "log"
    workers = f"--data.num_workers={num_workers}"
    kill_in_second_epoch([start([*command, workers], tmp_path, log=log)], last_checkpoint(tmp_path), log)
    finish([start([*command, workers, "--ckpt_path=last"], tmp_path, log=log)], log)
    assert_same_training(whole_run, last_checkpoint(tmp_path))


def test_killed_ddp_run_ends_as_if_it_had_not_been_killed(command: list[str], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    log = tmp_path / "log"
    whole.mkdir()
    killed.mkdir()
    finish(start_ranks(command, whole, 2, log), log)
    kill_in_second_epoch(start_ranks(command, killed, 2, log), last_checkpoint(killed), log)
    finish(start_ranks([*command, "--ckpt_path=last"], killed, 2, log), log)
    assert_same_training(last_checkpoint(whole), last_checkpoint(killed))
