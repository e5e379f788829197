"""The checkpoint that is gone on with where the last one is damaged."""

from pathlib import Path

import pytest
import torch

from sextant.errors import InputError
from tests.sextant.resume.interrupted import Folder, assert_same

SETTINGS = ["--trainer.max_epochs=2", "--recovery_checkpoint.every_n_steps=1", "--recovery_checkpoint.keep_epochs=[1]"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("whole") / "run", *SETTINGS)
    folder.fit()
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """A run that was killed after six steps of eight, and left what a killed one may leave."""
    run = Folder(tmp_path / "run", *SETTINGS)
    run.end("on_train_batch_end", 7)
    assert run.checkpoint()["global_step"] == 6
    (checkpoints(run) / ".last.ckpt.abcd1234.part").write_bytes(b"half")
    return run


def checkpoints(run: Folder) -> Path:
    return run.run / "checkpoints"


def damage(run: Folder, *names: str) -> None:
    """Flip a bit of a weight."""
    for name in names:
        file = checkpoints(run) / f"{name}.ckpt"
        content = bytearray(file.read_bytes())
        weight = torch.load(file, weights_only=True)["state_dict"]["network.weight"]
        content[content.index(weight.numpy().tobytes())] ^= 1
        file.write_bytes(content)


def test_previous_checkpoint_is_taken_and_said_and_the_run_ends_as_if_nothing_had_been(
    whole: Folder, run: Folder
) -> None:
    damage(run, "last")
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged, so .*previous\.ckpt, of step 5, is taken"):
        run.fit("--ckpt_path=last")
    assert_same(whole, run)
    assert not [file.name for file in checkpoints(run).iterdir() if file.name.startswith(".")]


def test_damaged_checkpoint_does_not_take_the_place_of_the_previous_one(run: Folder) -> None:
    damage(run, "last")
    with pytest.warns(UserWarning, match="damaged"):
        run.end("on_train_batch_end", 6, 0, "--ckpt_path=last")  # before it wrote any
    assert run.checkpoint("previous")["global_step"] == 5
    with pytest.warns(UserWarning, match="damaged"):
        run.end("on_train_batch_end", 7, 0, "--ckpt_path=last")  # after it wrote one
    assert run.checkpoint("previous")["global_step"] == 5
    assert run.checkpoint()["global_step"] == 6


def test_newest_whole_one_is_taken_where_the_previous_one_is_damaged_too(whole: Folder, run: Folder) -> None:
    damage(run, "last", "previous")
    with pytest.warns(UserWarning, match=r"(epoch=001|best)\.ckpt, of step 4, is taken"):
        run.fit("--ckpt_path=last")
    assert_same(whole, run)


def test_run_without_a_whole_checkpoint_is_an_error_that_names_them(run: Folder) -> None:
    damage(run, *(file.stem for file in checkpoints(run).glob("[!.]*.ckpt")))
    with pytest.raises(InputError, match=r"last\.ckpt: not a readable checkpoint.* Nor can previous\.ckpt, .* be read"):
        run.fit("--ckpt_path=last")
    for file in checkpoints(run).glob("[!.]*.ckpt"):
        if file.name != "last.ckpt":
            file.unlink()
    with pytest.raises(InputError, match=r"last\.ckpt: not a readable checkpoint.* There is no other one beside it"):
        run.fit("--ckpt_path=last")


@pytest.mark.parametrize("path", ["best", "logs/tiny/version_0/checkpoints/last.ckpt"])
def test_checkpoint_that_was_meant_itself_has_no_other_in_its_place(run: Folder, path: str) -> None:
    damage(run, "last", "best")
    with pytest.raises(InputError, match=r"(best|last)\.ckpt: not a readable checkpoint"):
        run.fit(f"--ckpt_path={path}")


def test_what_was_gone_on_with_is_the_previous_one_until_the_run_has_two_of_its_own(run: Folder) -> None:
    (checkpoints(run) / "previous.ckpt").unlink()
    run.end("on_train_batch_start", 6, 0, "--ckpt_path=last")
    assert run.checkpoint("previous")["global_step"] == 6
    assert run.checkpoint()["global_step"] == 6
