"""``train.py consolidate``: a folder of sharded tables becomes one file, without a configuration."""

from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from train import main

NAME = "tables.embedding_bags.t.weight"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder as a sharded run writes it."""
    path = tmp_path / "last.ckpt"
    tables = {NAME: {"rows": 5, "dim": 4, "columns": [0, 2], "sums": "none"}}
    rest = {"state_dict": {"w": torch.ones(2)}, "optimizer_states": [{"state": {}}], "global_step": 9}
    AtomicCheckpointIO().save_checkpoint({**rest, "tables": tables}, path / "checkpoint.ckpt")
    dcp.save({NAME: torch.arange(20.0).reshape(5, 4)}, checkpoint_id=path / "tables", no_dist=True)
    return path


def test_file_holds_whole_tables_beside_everything_else(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["consolidate", str(checkpoint), str(tmp_path / "one.ckpt")])
    one = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert torch.equal(one["state_dict"][NAME], torch.arange(20.0).reshape(5, 4))
    assert torch.equal(one["state_dict"]["w"], torch.ones(2))
    assert one["global_step"] == 9
    assert "one.ckpt" in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "one.ckpt"}


def test_folder_whose_replacement_was_killed_is_found(checkpoint: Path, tmp_path: Path) -> None:
    checkpoint.rename(tmp_path / ".last.ckpt.old")
    main(["consolidate", str(checkpoint), str(tmp_path / "one.ckpt")])
    assert (tmp_path / "one.ckpt").is_file()


def test_mistakes_are_said(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        main(["consolidate", str(tmp_path / "nothing"), str(tmp_path / "one.ckpt")])
    (tmp_path / "one.ckpt").touch()
    with pytest.raises(InputError, match=r"it exists\. Remove it"):
        main(["consolidate", str(checkpoint), str(tmp_path / "one.ckpt")])
    assert not (tmp_path / "one.ckpt").stat().st_size
    with pytest.raises(InputError, match="it is one file already"):
        main(["consolidate", str(tmp_path / "one.ckpt"), str(tmp_path / "other.ckpt")])
    with pytest.raises(InputError, match=r"^OUTPUT must be given\.") as error:
        main(["consolidate", str(checkpoint)])
    assert "--config" not in str(error.value)


@pytest.mark.parametrize("command", ["plan", "consolidate"])
def test_command_is_listed_and_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert f"\n  {command} " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([command, "--help"])
    helped = capsys.readouterr().out
    for explained in {"plan": ["--devices_per_node", "--memory_gb"], "consolidate": ["checkpoint", "output"]}[command]:
        assert f"\n  {explained}" in helped
    assert "seed_everything" in helped or command == "consolidate"
