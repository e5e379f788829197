"""What Lightning and torch say of a setting is one error; what they say of a fault stays what it is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from typing_extensions import override

from sextant.cli.refusals import settings_refused
from sextant.errors import InputError
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.sextant.tiny import PointsData


@pytest.mark.parametrize(
    ("error", "precision", "message"),
    [
        (
            RuntimeError("DefaultCPUAllocator: you tried to allocate 123 bytes. Error"),
            None,
            "123 bytes more",
        ),
        (MemoryError("Unable to allocate 7.5 GiB for an array"), None, r"memory: 7\.5 GiB more were asked for"),
        (RuntimeError("\"ctc_loss\" not implemented for 'Half'"), "16-true", "precision is 16-true, .* Use bf16-mixed"),
        (RuntimeError("x does not have a deterministic implementation."), None, "deterministic=warn"),
    ],
)
def test_what_a_setting_asks_for_in_vain_is_one_error(error: Exception, precision: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message), settings_refused(precision):
        raise error


@pytest.mark.parametrize(
    "error", [RuntimeError("expected scalar type Float"), ValueError("of ours"), TypeError("of ours")], ids=repr
)
def test_fault_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, settings_refused():
        raise error
    assert raised.value is error


class Faulty(Recorder):
    """A module with a fault in a step, or in a hook that Lightning calls before it."""

    def __init__(self, hook: str, error: Exception) -> None:
        super().__init__()
        self.hook = hook
        self.error = error

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        self.fail_in("configure_optimizers")
        return super().configure_optimizers()

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.fail_in("training_step")
        return super().training_step(batch, batch_idx)

    def fail_in(self, hook: str) -> None:
        if hook == self.hook:
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("of ours"), ValueError("of ours"), TypeError("of ours")], ids=repr)
@pytest.mark.parametrize("hook", ["configure_optimizers", "training_step"])
def test_fault_in_what_lightning_calls_stays_what_it_is(tmp_path: Path, hook: str, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, settings_refused():
        bare_trainer(tmp_path, max_epochs=1).fit(Faulty(hook, error), datamodule=PointsData())
    assert raised.value is error


@pytest.mark.parametrize("settings", [{"accelerator": "nonsense"}, {"strategy": "nonsense"}], ids=str)
def test_setting_that_lightning_refuses_is_one_error(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"setting of the Trainer cannot be used: .*nonsense"), settings_refused():
        Trainer(logger=False, **settings)
