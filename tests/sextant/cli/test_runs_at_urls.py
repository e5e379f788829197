"""Runs whose checkpoints are at a URL, and predictions that are written to one."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from sextant.errors import InputError
from sextant.files.location import Location, location
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.sextant.resume.interrupted import Folder
from tests.sextant.tiny import ARGUMENTS
from train import main

MEMORY = fsspec.filesystem("memory")


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    yield
    MEMORY.rm("/", recursive=True)


@pytest.fixture(params=["memory", pytest.param("file", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the runs are kept."""
    return "memory://bucket/runs" if request.param == "memory" else f"file://{tmp_path}/runs"


def checkpoints(url: str, version: int = 0) -> Location:
    return location(url) / "tiny" / f"version_{version}" / "checkpoints"


def names(folder: Location) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def load(file: Location) -> dict[str, Any]:
    return AtomicCheckpointIO().load_checkpoint(str(file))


def damage(file: str) -> None:
    """Flip a bit in the middle."""
    content = bytearray(MEMORY.cat_file(file))
    content[len(content) // 2] ^= 1
    MEMORY.pipe_file(file, bytes(content))


def test_run_at_a_url_that_is_stopped_goes_on_and_ends_like_one_on_the_disk(tmp_path: Path, url: str) -> None:
    whole = Folder(tmp_path / "whole", "--trainer.max_epochs=2")
    whole.fit()
    run = Folder(tmp_path / "run", "--trainer.max_epochs=2", f"--trainer.default_root_dir={url}")
    run.end("on_train_batch_end", 3, signal.SIGUSR1, "--ckpt_path=auto")
    assert load(checkpoints(url) / "last.ckpt")["global_step"] == 3
    run.fit("--ckpt_path=auto")
    assert names(checkpoints(url)) == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    assert names(checkpoints(url).parent) == ["checkpoints", "config.yaml"]
    ended = load(checkpoints(url) / "last.ckpt")
    assert all(
        torch.equal(value, ended["state_dict"][name]) for name, value in whole.checkpoint()["state_dict"].items()
    )
    assert run.points() == whole.points()  # the log stays on the disk
    assert not (run.run / "checkpoints").exists()
    assert not [path for path in run.path.iterdir() if ":" in path.name]  # nor is the URL taken for a path


def test_new_run_has_a_number_of_its_own_where_another_machine_has_begun_one(tmp_path: Path) -> None:
    at = "--trainer.default_root_dir=memory://bucket/runs"
    Folder(tmp_path / "one machine").fit(at)
    before = MEMORY.cat_file("/bucket/runs/tiny/version_0/checkpoints/last.ckpt")
    Folder(tmp_path / "another").fit(at)
    assert MEMORY.cat_file("/bucket/runs/tiny/version_0/checkpoints/last.ckpt") == before
    assert names(location("memory://bucket/runs/tiny")) == ["version_0", "version_1"]
    assert "version: null" in MEMORY.cat_file("/bucket/runs/tiny/version_1/config.yaml").decode()


def test_damaged_checkpoint_at_a_url_is_named_and_the_previous_one_is_taken(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", "--trainer.default_root_dir=memory://runs", "--recovery_checkpoint.every_n_steps=1")
    run.fit()
    damage("/runs/tiny/version_0/checkpoints/last.ckpt")
    with pytest.raises(InputError, match=r"memory://runs/tiny/version_0/checkpoints/last\.ckpt: not a readable"):
        run.fit("--ckpt_path=memory://runs/tiny/version_0/checkpoints/last.ckpt")
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged, so memory://.*/previous\.ckpt, of step 3, is taken"):
        run.fit("--ckpt_path=last")
    assert load(checkpoints("memory://runs") / "last.ckpt")["global_step"] == 4


@pytest.fixture
def trained(tmp_path: Path) -> Folder:
    run = Folder(tmp_path / "run", "--trainer.default_root_dir=memory://runs")
    run.fit()
    return run


@pytest.mark.parametrize(
    "meant", ["best", pytest.param("memory://runs/tiny/version_0/checkpoints/last.ckpt", marks=pytest.mark.slow)]
)
def test_model_at_a_url_predicts_into_a_file_at_a_url(
    trained: Folder, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    arguments = ["predict", *trained.arguments, f"--ckpt_path={meant}", "--predictions.output=memory://out/rows.csv"]
    main(arguments)
    assert MEMORY.find("/out") == ["/out/rows.csv"]
    rows = MEMORY.cat_file("/out/rows.csv").decode().splitlines()
    assert rows[0] == "file,y"
    assert len(rows) == 9
    with pytest.raises(InputError, match=r"memory://out/rows\.csv: it exists already"):
        main(arguments)
    main([*arguments, "--predictions.overwrite=true"])
    assert not [path for path in trained.path.iterdir() if path.name != "logs"]


def test_place_that_cannot_be_written_is_named_before_training_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise PermissionError("access denied")

    monkeypatch.setattr(MemoryFileSystem, "put_file", fails)
    with pytest.raises(InputError, match=r"memory://runs: the run cannot be kept there \(.*access denied\)"):
        Folder(tmp_path / "run").fit("--trainer.default_root_dir=memory://runs")
    with pytest.raises(InputError, match=r"^memory://best: .*choose another place with --best_checkpoint\.dirpath"):
        Folder(tmp_path / "another").fit("--best_checkpoint.dirpath=memory://best")
    assert not MEMORY.find("/")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(InputError, match=r"memory://out/rows\.csv: cannot write there \(.*access denied\)"):
        main(["predict", *ARGUMENTS, "--random_weights=true", "--predictions.output=memory://out/rows.csv"])


def test_log_that_cannot_be_kept_at_a_url_is_refused_before_training_begins(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"save_dir=memory://logs: a log grows .* --trainer\.default_root_dir"):
        Folder(tmp_path / "run").fit("--trainer.logger.save_dir=memory://logs")
    assert not MEMORY.find("/")
