"""What one part of a run needs of another is checked by name."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import pytest
import torch
from lightning.pytorch import LightningModule

from sextant.contracts import need_weights, require, sharing
from sextant.errors import InputError
from tests.datamodules.recorder import bare_trainer


@runtime_checkable
class Sings(Protocol):
    """A Bird that sings.

    Not any other.
    """

    volume: float

    def sing(self) -> str:
        """A song."""


class Lark:
    volume = 0.5

    def sing(self) -> str:
        return "tirili"


class Duck:
    volume = 1.0


class Concert:
    """What needs a bird."""


def test_what_has_all_that_is_needed_is_given_back() -> None:
    lark = Lark()
    assert require(lark, Sings, Concert()) is lark


def test_what_is_missing_is_named_with_what_is_needed_and_what_to_do() -> None:
    message = (
        "Concert cannot be used with Duck, which has no sing. It needs a Bird that sings. Take Concert out of "
        "trainer.callbacks; if it has settings of its own, set them to null."
    )
    with pytest.raises(InputError) as error:
        require(Duck(), Sings, Concert())
    assert str(error.value) == message


def test_run_without_a_datamodule_is_called_so() -> None:
    with pytest.raises(InputError, match=r"Concert cannot be used with a run without a DataModule\. It needs a Bird"):
        require(None, Sings, Concert())


class Network(LightningModule):
    """Without published weights."""


class Published(Network):
    """With published weights, where they are asked for."""

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.pretrained = pretrained


def test_trained_weights_are_needed_unless_somebody_says_that_random_ones_will_do(
    recwarn: pytest.WarningsRecorder,
) -> None:
    need_weights(Network(), "best.ckpt", random_weights=False)
    need_weights(Published(), None, random_weights=False)
    assert not recwarn.list
    need_weights(Network(), None, random_weights=True)
    assert "RANDOM WEIGHTS" in str(recwarn.pop().message)
    for untrained in (Network(), Published(pretrained=False)):
        with pytest.raises(InputError, match=r"needs trained weights, .* Give a checkpoint: --ckpt_path=best"):
            need_weights(untrained, None, random_weights=False)
    with pytest.raises(InputError, match="leave it or --ckpt_path out"):
        need_weights(Network(), "best.ckpt", random_weights=True)


@pytest.mark.parametrize("num_nodes", [1, 2])
def test_processes_of_one_node_share_its_memory_and_none_shares_that_of_a_gpu(tmp_path: Path, num_nodes: int) -> None:
    trainer = bare_trainer(tmp_path, strategy="ddp", devices=3, num_nodes=num_nodes)
    assert trainer.world_size == 3 * num_nodes
    assert sharing(trainer, torch.device("cpu")) == 3
    assert sharing(trainer, torch.device("cuda")) == 1
