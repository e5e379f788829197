"""ResNet for images: images in, class probabilities out."""

from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from modules.networks.resnet import resnet
from sextant.errors import InputError
from sextant.export.graph import BATCH, NORMALIZED_IMAGE, ArgMax, Axis, ExportGraph, GraphInput
from sextant.optimization import Optimization, parameter_groups


class ImageClassifier(LightningModule):
    """Classify images with a torchvision ResNet.

    Args:
        depth: 18, 34, 50, 101 or 152 layers.
        num_classes: number of classes, the same as the data's.
        stem: ``imagenet`` (7x7 of stride 2, then pooling), or ``small`` (3x3 of stride 1), which keeps the
            resolution of 64-pixel images: more accurate there, and about 15 times the work.
        weights: pretrained weights: a name of torchvision's such as ``IMAGENET1K_V1``, or the path of a file.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al. 2016), in [0, 1].
        channels_last: keep images and filters in the memory format that is faster on most devices.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.WarmupCosine`` follows the steps of the
            run, any other is stepped once per epoch.

    Batch: ``image`` float (B, 3, H, W), normalized; ``label`` int64 (B,) or, for mixed images, float
    (B, num_classes) with rows that sum to 1, absent in ``predict``.

    Logged for train, val and test: ``loss`` (cross-entropy, with smoothing in training only), ``accuracy`` (top 1)
    and ``top5``, over the whole epoch and all processes. The training accuracy of a mixed image counts the class
    with the larger share.

    The DataModule's ``classes`` (id -> name, in the order of the labels) are kept in the checkpoint, so that
    ``predict`` needs no data set.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 18,
        num_classes: int = 200,
        stem: Literal["imagenet", "small"] = "imagenet",
        weights: str | None = None,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
        decay_norm_and_bias: bool = True,
        optimizer: OptimizerCallable = torch.optim.SGD,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["optimizer", "scheduler"])
        self.num_classes = num_classes
        #: Whether torchvision's weights are all that it has, so that it knows something without training.
        self.pretrained = bool(weights) and not Path(str(weights)).suffix and (num_classes, stem) == (1000, "imagenet")
        self.label_smoothing = label_smoothing
        self.decay_norm_and_bias = decay_norm_and_bias
        self.optimization = Optimization(optimizer, scheduler)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = resnet(depth, num_classes, stem, weights).to(memory_format=self.memory_format)
        self.example_input_array = torch.zeros(1, 3, 64, 64)
        metrics = MetricCollection(
            {
                # A NaN must show: it is replaced by NaN. The strategy "disable" would ignore the weights of batches.
                "loss": MeanMetric(nan_strategy=float("nan")),
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "top5": MulticlassAccuracy(num_classes, average="micro", top_k=min(5, num_classes)),
            },
            compute_groups=False,  # top 1 and top 5 would be merged if they agree on the first batch
        )
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        #: id -> name of each class, from the data or from the checkpoint.
        self.classes: dict[str, str] = {}

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Float (B, 3, H, W), normalized, to logits (B, num_classes)."""
        return self.network(image.to(memory_format=self.memory_format))

    @override
    def setup(self, stage: str) -> None:
        """Take the names of the classes from the data.

        Raises:
            InputError: the data has another number of classes than the model.
        """
        self.classes = dict(getattr(self.trainer.datamodule, "classes", {}))  # type: ignore[attr-defined]
        if self.classes and len(self.classes) != self.num_classes:
            raise InputError(
                f"model.num_classes is {self.num_classes}, but the data has {len(self.classes)} classes. "
                f"Run with --model.num_classes={len(self.classes)}, or give other data with --data.root."
            )

    def _step(self, batch: dict[str, Tensor], metrics: MetricCollection) -> tuple[Tensor, Tensor]:
        label = batch["label"]
        logits = self(batch["image"])
        loss = F.cross_entropy(logits, label, label_smoothing=self.label_smoothing if self.training else 0.0)
        hard = label.argmax(1) if label.is_floating_point() else label
        metrics["loss"].update(loss.detach(), len(label))
        metrics["accuracy"].update(logits, hard)
        metrics["top5"].update(logits, hard)
        return loss, logits

    def _log_epoch(self, metrics: MetricCollection) -> dict[str, Tensor]:
        values = metrics.compute()
        self.log_dict(values)
        metrics.reset()
        return values

    @override
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss, _ = self._step(batch, self.train_metrics)
        self.log("train/loss_step", loss, prog_bar=True)
        return loss

    @override
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        loss, logits = self._step(batch, self.val_metrics)
        return {"loss": loss, "prediction": logits.argmax(1)}

    @override
    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._step(batch, self.test_metrics)

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any]]:
        """For each image a row: ``class_id``, ``class_name``, ``probability``, ``top5`` (name and probability)."""
        probabilities, labels = self(batch["image"]).softmax(1).topk(min(5, self.num_classes))
        ids = list(self.classes) or [str(label) for label in range(self.num_classes)]
        rows = []
        for top_probabilities, top_labels in zip(probabilities.tolist(), labels.tolist(), strict=True):
            names = [self.classes.get(ids[label], ids[label]) for label in top_labels]
            rows.append(
                {
                    "class_id": ids[top_labels[0]],
                    "class_name": names[0],
                    "probability": round(top_probabilities[0], 4),
                    "top5": "; ".join(f"{n} {p:.4f}" for n, p in zip(names, top_probabilities, strict=True)),
                }
            )
        return rows

    def export_graph(self) -> ExportGraph:
        """``image`` float (B, 3, H, W), normalized, to ``logits`` (B, num_classes)."""
        height, width = Axis("height", example=64, low=33), Axis("width", example=72, low=33)
        return ExportGraph(
            network=self.network,
            inputs=(GraphInput("image", (BATCH, 3, height, width)),),
            outputs=("logits",),
            read=lambda batch: (batch["image"],),
            decide=ArgMax(1),
            names=list(self.classes.values()),
            image_size=(64, 64),
            metric="val/accuracy",
            about={
                "image": NORMALIZED_IMAGE,
                "logits": "a score of each class",
            },
        )

    @override
    def on_train_epoch_end(self) -> None:
        self._log_epoch(self.train_metrics)

    @override
    def on_validation_epoch_end(self) -> None:
        self.optimization.validated(self, self._log_epoch(self.val_metrics))

    @override
    def on_test_epoch_end(self) -> None:
        self._log_epoch(self.test_metrics)

    @override
    def configure_optimizers(self) -> Any:
        return self.optimization.configure(self, parameter_groups(self.network, self.decay_norm_and_bias))

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classes"] = self.classes

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the names of the classes from the checkpoint where there is no data set.

        Raises:
            InputError: the checkpoint was trained on other classes than the data's.
        """
        trained = checkpoint.get("classes", {})
        if self.classes and trained and list(trained) != list(self.classes):
            differing = next((a, b) for a, b in zip(trained, self.classes, strict=True) if a != b)
            raise InputError(
                f"The checkpoint was trained on other classes than the data has: {differing[0]!r} where the data has "
                f"{differing[1]!r}, for instance. Give the data it was trained on with --data.root."
            )
        self.classes = self.classes or trained
