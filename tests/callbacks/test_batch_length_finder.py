"""The budget that is found is the largest that fits, and nothing else tells that it was looked for."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric, MetricCollection
from typing_extensions import override

from callbacks import batch_length_finder
from callbacks.batch_length_finder import BatchLengthFinder
from modules.conformer import SpeechRecognizer
from sextant import memory
from sextant.errors import InputError
from sextant.optimization import Optimization
from train import main

pytestmark = [pytest.mark.measures_memory, pytest.mark.usefixtures("memory_kept_again")]

LEAST, MOST = 64.0, 10_000.0
LIMIT = 300.0
NOISE = 12.0  # MB that the libraries take besides
GPU_MESSAGE = "CUDA out of memory. Tried to allocate 20.00 MiB."


@pytest.fixture(scope="module", autouse=True)
def trained_before() -> None:
    """The first training of a process takes memory that is kept."""
    find(BatchLengthFinder(LIMIT))


class Blocks(LightningDataModule):
    """Batches that say how many MB a training step shall take: their budget."""

    def __init__(self) -> None:
        super().__init__()
        self.max_batch_length = 1.0
        self.batch_length_range = (LEAST, MOST)

    def probe_batches(self, max_batch_length: float, device: torch.device) -> Iterator[Tensor]:
        yield torch.tensor(LEAST, device=device)
        yield torch.tensor(max_batch_length, device=device)

    @override
    def train_dataloader(self) -> DataLoader:
        return DataLoader([torch.tensor(self.max_batch_length)] * 2, batch_size=None)  # type: ignore[arg-type]


class Hungry(LightningModule):
    """Takes memory, draws random numbers, counts, logs.

    Args:
        fails: what to raise at a batch of so many MB.
        ballast: MB of weights.
    """

    def __init__(self, fails: Callable[[float], Exception | None] = lambda size: None, ballast: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.ballast = nn.Parameter(torch.ones(2**18 * ballast))
        self.norm = nn.BatchNorm1d(1)
        self.train_metrics = MetricCollection({"loss": MeanMetric()})
        self.optimization = Optimization(torch.optim.Adam)
        self.fails = fails

    @override
    def setup(self, stage: str) -> None:
        self.stage = stage

    def step(self, batch: Tensor, metrics: MetricCollection) -> dict[str, Tensor]:
        assert self.stage == "fit"
        assert self.training
        assert torch.is_grad_enabled()
        if error := self.fails(batch.item()):
            raise error
        block = torch.ones(int(batch.item() * 2**18))
        assert len({random.random(), np.random.rand(), torch.rand(1).item()}) == 3
        loss = (self.weight * block.mean() + self.norm(torch.rand(4, 1))).sum() + self.ballast.sum()
        metrics["loss"].update(loss.detach())
        return {"loss": loss}

    @override
    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.step(batch, self.train_metrics)["loss"]
        self.log("loss", loss)
        return loss

    @override
    def configure_optimizers(self) -> Any:
        return self.optimization.optimizer([{"params": self.parameters()}])


def fit(epochs: int, module: LightningModule, data: LightningDataModule, *callbacks: Callback) -> None:
    Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, data)


def find(finder: BatchLengthFinder, module: LightningModule | None = None, data: Any = None) -> float:
    """The budget that a run is given."""
    data = data or Blocks()
    fit(0, module or Hungry(), data, finder)
    return data.max_batch_length


# The memory of steps


def test_found_budget_takes_the_memory_that_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    budget = find(BatchLengthFinder(memory_limit_mb=LIMIT))
    assert 0.9 * 0.94 * (LIMIT - NOISE) <= budget <= 0.9 * LIMIT + 1
    lines = [line for line in caplog.messages if line.startswith("BatchLengthFinder")]
    assert "max_batch_length=64 takes" in lines[0]
    assert "of 300 MB: fits" in lines[0]
    assert any("MB: too much" in line for line in lines)
    assert f"max_batch_length={budget}: the largest that fitted" in lines[-1]
    taken = next(line for line in lines if "=128 takes" in line)
    assert 127 <= float(taken.split("takes ")[1].split()[0]) <= 128 + NOISE


def test_margin_is_left_and_the_longest_example_always_fits() -> None:
    assert 0.5 * 0.94 * (LIMIT - NOISE) <= find(BatchLengthFinder(LIMIT, margin=0.5)) <= 0.5 * LIMIT + 1
    data = Blocks()
    data.batch_length_range = (100.00001, 110.0)
    assert find(BatchLengthFinder(LIMIT, margin=0.5), data=data) == 100.00001


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_budget_at_which_a_gpu_has_no_memory_left_does_not_fit(error: type[Exception]) -> None:
    module = Hungry(lambda size: error(GPU_MESSAGE) if size > 200 else None)
    assert 0.9 * 0.95 * 200 <= find(BatchLengthFinder(1e6), module) <= 0.9 * 200


def test_other_errors_of_a_step_are_not_taken_for_a_lack_of_memory() -> None:
    module = Hungry(lambda size: RuntimeError("mat1 and mat2 shapes cannot be multiplied") if size > 100 else None)
    with pytest.raises(RuntimeError, match="shapes"):
        find(BatchLengthFinder(1e6), module)


def test_copy_gradients_and_states_of_the_optimizer_take_memory() -> None:
    """Of weights of 20 MB: the copy, its gradients and Adam's two moments are held while a batch is trained on."""
    budget = find(BatchLengthFinder(LIMIT, margin=0, tolerance=0.01), Hungry(ballast=20))
    assert 0.98 * (LIMIT - 80) - NOISE <= budget <= LIMIT - 80 + 1


def test_processes_agree_on_the_smallest_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    of_others = [100.0]

    def reduce(strategy: Any, tensor: Tensor, *args: Any, reduce_op: str = "mean", **options: Any) -> Tensor:
        return tensor.clamp(max=of_others[0]) if reduce_op == "min" else tensor

    module = Hungry(lambda size: torch.OutOfMemoryError(GPU_MESSAGE) if size > 150 else None)
    monkeypatch.setattr(SingleDeviceStrategy, "reduce", reduce)
    assert find(BatchLengthFinder(1e6), module) == 90
    of_others[0] = 0.0
    with pytest.raises(InputError, match="does not fit"):
        find(BatchLengthFinder(1e6), module)


# What is left behind


class Snapshot(Callback):
    """Everything that a search could change, each time ``setup`` comes by."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        state = {name: value.clone() for name, value in pl_module.state_dict().items()}
        state |= {f"gradient of {name}": value.grad for name, value in pl_module.named_parameters()}
        state |= {"torch": torch.get_rng_state(), "numpy": str(np.random.get_state()), "python": random.getstate()}
        assert isinstance(pl_module, Hungry)
        loss = pl_module.train_metrics["loss"]
        state |= {"updates": loss.update_count} | {
            name: torch.as_tensor(value).clone() for name, value in loss.metric_state.items()
        }
        state |= {"logged": dict(trainer.callback_metrics), "training": pl_module.training}
        self.taken.append(state)


def test_search_changes_the_budget_and_nothing_else() -> None:
    before, after = Snapshot(), Snapshot()
    data, module = Blocks(), Hungry()
    fit(1, module, data, before, BatchLengthFinder(LIMIT), after)
    assert data.max_batch_length > LEAST
    (old,), (new,) = before.taken, after.taken
    assert old.keys() == new.keys()
    assert old["logged"] == {}
    for key, value in old.items():
        assert torch.equal(value, new[key]) if isinstance(value, Tensor) else value == new[key], key
    assert module.train_metrics["loss"].update_count == 2  # of the run


# What cannot be done


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_limit_mb": 0}, "memory_limit_mb is 0; it must be above 0"),
        ({"margin": 1.0}, r"margin is 1.0; it must be 0 or more and below 1"),
        ({"margin": -0.1}, r"margin is -0.1"),
        ({"tolerance": 0.0}, r"tolerance is 0.0; it must be 0.01 or more and below 1"),
        ({"tolerance": 1.0}, r"tolerance is 1.0"),
    ],
)
def test_argument_out_of_its_range_is_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BatchLengthFinder(**options)


def test_limit_has_to_be_given_without_a_gpu() -> None:
    with pytest.raises(InputError, match=r"memory_limit_mb is not given.*--batch_length_finder.memory_limit_mb=3000"):
        find(BatchLengthFinder())


def test_data_without_a_budget_is_named() -> None:
    with pytest.raises(
        InputError, match=r"BatchLengthFinder cannot be used with LightningDataModule, which has no .*max_batch_length"
    ):
        find(BatchLengthFinder(LIMIT), data=LightningDataModule())


def test_longest_example_that_does_not_fit_is_an_error_with_its_length_and_memory() -> None:
    data = Blocks()
    data.batch_length_range = (120.5, MOST)
    with pytest.raises(InputError, match=r"longest .*max_batch_length=120.5 takes 1[12]\d of 100 MB: too much.*Allow"):
        find(BatchLengthFinder(100.0), data=data)


@pytest.mark.parametrize("place", ["missing/clear_refs", ""])
def test_memory_that_cannot_be_measured_is_an_error(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / place)
    with pytest.raises(InputError, match=r"^BatchLengthFinder: .*cannot be measured here .*give max_batch_length"):
        find(BatchLengthFinder(LIMIT))


# Speech


@pytest.fixture(scope="module")
def run(small: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run ``fit`` in a folder of its own, with drawn speeds, masks and dropout, in batches of up to three."""
    words = [
        *(*small("conformer_librispeech"), "--data.num_workers=0", "--data.batching.max_batch_ex=3"),
        *("--trainer.max_epochs=2", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
        *("--trainer.limit_val_batches=1", "--trainer.num_sanity_val_steps=0", "--recovery_checkpoint.every_n_steps=2"),
        "--trainer.callbacks=[callbacks.weight_averaging.EMAWeightAveraging]",
    ]
    folder = tmp_path_factory.mktemp("finder")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["train.py"])
        yield lambda name, *more: main(["fit", *words, f"--trainer.logger.name={name}", *more])


FINDER = ("--batch_length_finder.memory_limit_mb=2000",)


@pytest.fixture(scope="module")
def found(run: Any) -> Any:
    """A finished run whose budget was looked for."""
    return run("found", *FINDER)


def last(cli: Any) -> dict[str, Any]:
    return torch.load(Path(cli.trainer.log_dir) / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same_training(a: Any, b: Any) -> None:
    old, new = last(a), last(b)
    assert old["global_step"] == new["global_step"] == 2 * len(a.datamodule.train_dataloader())
    for part in ("state_dict", "current_model_state"):
        assert old[part].keys() == new[part].keys()
        for name, value in old[part].items():
            assert torch.equal(value, new[part][name]), f"{part}: {name}"
    assert old["lr_schedulers"] == new["lr_schedulers"]


@pytest.mark.slow
def test_run_is_that_with_the_found_budget_given_by_hand(found: Any, run: Any) -> None:
    budget = found.datamodule.max_batch_length
    least, most = found.datamodule.batch_length_range
    assert budget == float(f"{0.9 * most:.4g}")  # all of the small set fits into 2,000 MB
    assert budget != 6.0
    assert_same_training(found, run("by_hand", f"--data.batching.max_batch_length={budget}"))
    (text,) = EventAccumulator(found.trainer.log_dir).Reload().Tensors("max_batch_length/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    assert f"max_batch_length={budget}: the largest that fitted" in shown
    assert f"max_batch_length={least:g} takes" in shown


@pytest.mark.slow
def test_resumed_run_goes_on_with_the_found_budget_without_looking_for_it_again(
    found: Any, run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    step, taken = SpeechRecognizer.training_step, []

    def break_in_second_epoch(module: SpeechRecognizer, batch: Any, batch_idx: int) -> Tensor:
        taken.append(batch_idx)
        if len(taken) == len(found.datamodule.train_dataloader()) + 4:
            raise KeyError("broken")
        return step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SpeechRecognizer, "training_step", break_in_second_epoch)
        with pytest.raises(KeyError, match="broken"):
            run("resumed", *FINDER)
    checkpoint = torch.load("logs/resumed/version_0/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["LibriSpeech"]["epoch"] == 1
    ((steps, _),) = checkpoint["LibriSpeech"]["done"]
    assert 0 < steps < len(found.datamodule.train_dataloader())

    def fail(*args: Any) -> float:
        raise AssertionError("looked for")

    monkeypatch.setattr(batch_length_finder, "largest_fitting", fail)
    caplog.set_level("INFO")
    assert_same_training(found, run("resumed", *FINDER, "--ckpt_path=last"))
    assert "BatchLengthFinder: the run goes on with its budget of before." in caplog.messages
    assert any(f"max_batch_length is {found.datamodule.max_batch_length}" in line for line in caplog.messages)
