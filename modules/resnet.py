"""ResNet for images: images in, class probabilities out."""

from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from modules.networks.resnet import resnet
from sextant.data_spec import DataSpec
from sextant.export.graph import BATCH, NORMALIZED_IMAGE, ArgMax, Axis, ExportGraph, GraphInput
from sextant.module import BaseModule


class ImageClassifier(BaseModule):
    """A torchvision ResNet that gives an image a class.

    Args:
        depth: 18, 34, 50, 101 or 152 layers.
        num_classes: number of classes, the same as the data's.
        stem: ``imagenet`` (7x7 of stride 2, then pooling), or ``small`` (3x3 of stride 1), which keeps the
            resolution of 64-pixel images, on which it is more accurate at about 15 times the work.
        weights: pretrained weights: a name of torchvision's such as ``IMAGENET1K_V1``, or the path of a file.
        label_smoothing: fraction of the target that is spread evenly over all classes (Szegedy et al. 2016), in [0, 1].
        channels_last: keep images and filters in the memory format that is faster on most devices.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.WarmupCosine`` follows the steps of the
            run, any other is stepped once per epoch.

    Batch: ``image`` float (B, 3, H, W), normalized; ``label`` int64 (B,) or, for mixed images, float
    (B, num_classes) with rows that sum to 1, absent in ``predict``.

    Logged for train, val and test: ``loss`` (cross-entropy, with smoothing in training only), ``accuracy`` (top 1)
    and ``top5``, over the whole epoch and all processes. The training accuracy of a mixed image counts the class
    with the larger weight.

    The labels of the data, and their ids, are kept in the checkpoint, so that ``predict`` needs no data set.
    """

    headline = "accuracy"

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
        super().__init__(optimizer, scheduler, decay_norm_and_bias)
        self.num_classes = num_classes
        #: Whether torchvision's weights are all that it has, so that it knows something without training.
        self.pretrained = bool(weights) and not Path(str(weights)).suffix and (num_classes, stem) == (1000, "imagenet")
        self.label_smoothing = label_smoothing
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = resnet(depth, num_classes, stem, weights).to(memory_format=self.memory_format)
        self.example_input_array = torch.zeros(1, 3, 64, 64)
        self.add_metrics(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "top5": MulticlassAccuracy(num_classes, average="micro", top_k=min(5, num_classes)),
            }
        )

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Float (B, 3, H, W), normalized, to logits (B, num_classes)."""
        return self.network(image.to(memory_format=self.memory_format))

    @override
    def check_data(self, spec: DataSpec) -> None:
        spec.require_label_count(self.num_classes, "num_classes")

    @override
    def step(self, batch: dict[str, Tensor], metrics: MetricCollection) -> dict[str, Tensor]:
        label = batch["label"]
        logits = self(batch["image"])
        loss = F.cross_entropy(logits, label, label_smoothing=self.label_smoothing if self.training else 0.0)
        hard = label.argmax(1) if label.is_floating_point() else label
        metrics["loss"].update(loss.detach(), len(label))
        metrics["accuracy"].update(logits, hard)
        metrics["top5"].update(logits, hard)
        return {"loss": loss, "prediction": logits.detach().argmax(1)}

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any]]:
        """For each image a row: ``class_id``, ``class_name``, ``probability``, ``top5`` (name and probability)."""
        probabilities, labels = self(batch["image"]).softmax(1).topk(min(5, self.num_classes))
        classes = self.image_class_names()
        ids = self.data_spec.label_ids or classes
        rows = []
        for top_probabilities, top_labels in zip(probabilities.tolist(), labels.tolist(), strict=True):
            names = [classes[label] for label in top_labels]
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
            names=list(self.data_spec.labels),
            image_size=(64, 64),
            metric="val/accuracy",
            about={
                "image": NORMALIZED_IMAGE,
                "logits": "of the classes",
            },
        )

    def image_class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers where neither data nor a checkpoint was read."""
        return self.data_spec.labels or tuple(str(label) for label in range(self.num_classes))
