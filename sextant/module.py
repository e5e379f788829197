"""The base LightningModule: metrics by split, epoch hooks, optimizer and schedule, what the data told it."""

from collections.abc import Mapping
from typing import Any, Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from typing_extensions import override

from sextant.data_spec import DataSpec, Describes
from sextant.lightning_internals import datamodule_of
from sextant.optimization import Optimization, parameter_groups

Split = Literal["train", "val", "test"]


class BaseModule(LightningModule):
    """A LightningModule that reads as network, loss, metrics and predict; what all have in common is here.

    A subclass makes its network in ``__init__``, calls :meth:`make_metrics`, and has a :meth:`step`. Metrics are logged
    once an epoch, over all its samples and all processes, as ``<split>/<name>``; the loss of each training step as
    ``train/loss_step``. A ``ReduceLROnPlateau`` is stepped by each validation.

    Args:
        optimizer: makes the optimizer from parameter groups.
        scheduler: makes the learning-rate schedule. One of ``sextant.optimization`` spans the run and is stepped with
            the optimizer, ``ReduceLROnPlateau`` with each validation, any other at the end of each epoch.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
    """

    #: The metric of a validation that the progress bar shows, without its split.
    headline: str = "loss"

    train_metrics: MetricCollection
    val_metrics: MetricCollection
    test_metrics: MetricCollection

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        decay_norm_and_bias: bool = True,
    ) -> None:
        super().__init__()
        self.optimization = Optimization(optimizer, scheduler)
        self.decay_norm_and_bias = decay_norm_and_bias
        #: What the data said of itself, or the checkpoint of the data it was trained on.
        self.data_spec = DataSpec()

    def make_metrics(self, train: Mapping[str, Metric], evaluation: Mapping[str, Metric]) -> None:
        """Make the metrics of each split, which :meth:`step` updates one by one.

        Args:
            train: by name, for the training split.
            evaluation: by name, for the validation and the test split.
        """
        for split, metrics in (("train", train), ("val", evaluation), ("test", evaluation)):
            # Groups would merge metrics that agree on the first batch.
            collection = MetricCollection(dict(metrics), prefix=f"{split}/", compute_groups=False)
            setattr(self, f"{split}_metrics", collection.clone())

    def step(self, batch: Any, metrics: MetricCollection) -> dict[str, Any]:
        """Compute the loss of a batch and update the metrics of its split.

        Args:
            batch: as the DataModule makes it.
            metrics: of the split, as :meth:`make_metrics` was given them.

        Returns:
            ``loss``, and what callbacks show of a validation.
        """
        raise NotImplementedError

    def epoch_values(self, values: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        """Make what is logged of an epoch from the values of its metrics.

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
            spec: what the data says of itself.

        Raises:
            InputError: it does not fit.
        """

    @override
    def setup(self, stage: str) -> None:
        """Take from the data what the model must know of it, where there is data that says so."""
        data = datamodule_of(self.trainer)
        if isinstance(data, Describes):
            self.data_spec = data.data_spec()
            self.check_data(self.data_spec)

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
        self._log_epoch(self.train_metrics, "train")

    @override
    def on_validation_epoch_end(self) -> None:
        self.optimization.validated(self, self._log_epoch(self.val_metrics, "val"))

    @override
    def on_test_epoch_end(self) -> None:
        self._log_epoch(self.test_metrics, "test")

    def _log_epoch(self, metrics: MetricCollection, split: Split) -> dict[str, Tensor]:
        values = self.epoch_values(metrics.compute(), split)
        metrics.reset()
        for name, value in values.items():
            self.log(name, value, prog_bar=name == f"val/{self.headline}")
        return values

    @override
    def configure_optimizers(self) -> Any:
        return self.optimization.configure(self, self.parameter_groups())

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["data_spec"] = self.data_spec.state_dict()

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what the data did not say, or is not there to say, from the checkpoint.

        Raises:
            InputError: the checkpoint was trained on other data.
        """
        trained = DataSpec.from_state_dict(checkpoint.get("data_spec", {}))
        self.data_spec.require_same(trained)
        self.data_spec = self.data_spec.merged(trained)
