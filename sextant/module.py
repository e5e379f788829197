"""The base LightningModule: metrics by split, epoch hooks, optimizer and schedule, the description of the data."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.plugins import MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from typing_extensions import override

from sextant.contracts import number_bytes, require_memory, sharing
from sextant.data_spec import DataSpec, Describes
from sextant.errors import InputError
from sextant.lightning_internals import callbacks_of, datamodule_of, is_fitting, trainer_of
from sextant.mean_loss import mean_loss
from sextant.optimization import Optimization, PlateauStep, parameter_groups, state_bytes

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class BaseModule(LightningModule):
    """A LightningModule that reads as network, loss, metrics and predict; what all have in common is here.

    A subclass makes its network in ``__init__``, adds its metrics to ``loss`` with :meth:`add_metrics`, and computes
    them in :meth:`step`. Metrics are logged once an epoch, over all its samples and all processes, as
    ``<split>/<name>``; the loss of each training step as ``train/loss_step``.

    Args:
        optimizer: makes the optimizer from parameter groups.
        scheduler: makes the learning-rate schedule. One of ``sextant.optimization`` spans the run and is stepped with
            the optimizer, ``ReduceLROnPlateau`` with each validation, any other at the end of each epoch.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
    """

    #: The metric of a validation that the progress bar shows, without its split.
    headline: str = "loss"

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        decay_norm_and_bias: bool = True,
    ) -> None:
        super().__init__()
        self.optimization = Optimization(optimizer, scheduler)
        self.decay_norm_and_bias = decay_norm_and_bias
        #: What the data says of itself, or the checkpoint of the data that it was trained on.
        self.data_spec = DataSpec()
        # Groups would merge metrics that agree on the first batch.
        self.train_metrics = MetricCollection({}, prefix="train/", compute_groups=False)
        self.val_metrics = MetricCollection({}, prefix="val/", compute_groups=False)
        self.test_metrics = MetricCollection({}, prefix="test/", compute_groups=False)
        self.add_metrics({"loss": mean_loss()})

    def add_metrics(self, metrics: Mapping[str, Metric], splits: Sequence[Split] = SPLITS) -> None:
        """Add metrics, which :meth:`step` updates one by one.

        Args:
            metrics: by name; each split gets a copy.
            splits: the splits that they are measured on.
        """
        for split in splits:
            self._metrics_of(split).add_metrics({name: metric.clone() for name, metric in metrics.items()})

    def step(self, batch: Any, metrics: MetricCollection) -> dict[str, Any]:
        """Compute the loss of a batch, and update the metrics of its split.

        Args:
            batch: as the DataModule makes it.
            metrics: of the split: ``loss``, to be weighted by what it is a mean over, and those of :meth:`add_metrics`.

        Returns:
            ``loss``, and what callbacks show of a validation.
        """
        raise NotImplementedError

    def epoch_values(self, values: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        """What is logged of an epoch.

        Args:
            values: of the metrics, by ``<split>/<name>``.
            split: the split.
        """
        return values

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The parameters as torch's optimizers take them; ``lr_factor`` makes a group slower or faster."""
        return parameter_groups(self, self.decay_norm_and_bias)

    def check_data(self, spec: DataSpec) -> None:
        """Require that the data fits the model.

        Args:
            spec: what the data says of itself. What it does not know, such as the labels of images to predict, is
                empty.

        Raises:
            InputError: it does not fit.
        """

    @override
    def setup(self, stage: str) -> None:
        """Take from the data what the model must know of it, where there is data that says so."""
        self.take_data_spec()
        if is_fitting(self.trainer):
            if self.trainer.limit_train_batches == 0:
                raise InputError("--trainer.limit_train_batches is 0: nothing would be trained. Give more.")
            self._require_memory()

    def _require_memory(self) -> None:
        """Require memory for what a run makes beside the weights."""
        trainer = self.trainer
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            return  # others may split it among the processes
        device, number = trainer.strategy.root_device, number_bytes(trainer)
        processes = sharing(trainer, device)
        shapes = [parameter.shape for group in self.parameter_groups() for parameter in group["params"]]
        weights = number * sum(shape.numel() for shape in shapes)
        needs = {
            "weights": processes * weights if device.type == "cuda" else 0,  # on the processor they are there already
            "gradients": processes * weights,
            "the optimizer's state": processes * state_bytes(self.optimization.optimizer, shapes, number),
        }
        require_memory(
            trainer, device, needs, "Make the model smaller (--model.*), or use an optimizer with less state."
        )

    def require_memory_to_make(
        self, what: str, shapes: Sequence[torch.Size], optimization: Optimization, advice: str
    ) -> None:
        """Require memory for parameters that a ``configure_model`` is about to make, where it makes them for a run.

        That is theirs, and where they are trained that of their optimizer's state and of an average.

        Args:
            what: the name of the parameters, in the plural.
            shapes: of the parameters.
            optimization: has their optimizer.
            advice: what to do where it is too little.

        Raises:
            InputError: it is too little.
        """
        trainer = trainer_of(self)
        if trainer is None:
            return
        device, number = torch.get_default_device(), number_bytes(trainer)
        processes = sharing(trainer, device)
        parameters = processes * number * sum(shape.numel() for shape in shapes)
        needs = {what: parameters}
        if is_fitting(trainer):
            needs["their optimizer's state"] = processes * state_bytes(optimization.optimizer, shapes, number)
            averaged = any(isinstance(callback, WeightAveraging) for callback in callbacks_of(trainer))
            needs["their average"] = parameters if averaged else 0
        require_memory(trainer, device, needs, advice)

    def take_data_spec(self) -> None:
        """Take from the data, which is set up, what the model must know of it.

        A ``configure_model`` that needs it calls this first: callbacks that average weights call it before ``setup``.

        Raises:
            InputError: the data does not fit.
        """
        data = datamodule_of(self.trainer)
        if isinstance(data, Describes):
            spec = data.data_spec()
            self.check_data(spec)
            self.data_spec = spec.completed(self.data_spec)

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = self.step(batch, self.train_metrics)["loss"]
        self.log("train/loss_step", loss, prog_bar=True)
        return loss

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        return self.step(batch, self.val_metrics)

    @override
    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.step(batch, self.test_metrics)

    @override
    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")

    @override
    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")

    @override
    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")

    def _log_epoch(self, split: Split) -> None:
        metrics = self._metrics_of(split)
        for name, value in self.epoch_values(metrics.compute(), split).items():
            self.log(name, value, prog_bar=name == f"val/{self.headline}")
        metrics.reset()

    def _metrics_of(self, split: Split) -> MetricCollection:
        return {"train": self.train_metrics, "val": self.val_metrics, "test": self.test_metrics}[split]

    @override
    def configure_callbacks(self) -> list[Callback]:
        return [PlateauStep()]

    @override
    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip gradients, also of a fused optimizer in bfloat16.

        Lightning refuses it in any mixed precision, since fused optimizers undo the scaling of gradients themselves; in
        bfloat16 nothing is scaled.
        """
        trainer = trainer_of(self)
        plugin = None if trainer is None else trainer.precision_plugin
        if isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            kind = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, kind)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    @override
    def configure_optimizers(self) -> Any:
        return self.optimization.configure(self, self.parameter_groups())

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["data_spec"] = self.data_spec.state_dict()

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take from the checkpoint what the data did not say, or is not there to say.

        Raises:
            InputError: the checkpoint was trained on other data.
        """
        trained = DataSpec.from_state_dict(checkpoint.get("data_spec", {}))
        self.data_spec.require_same(trained)
        self.data_spec = self.data_spec.completed(trained)
