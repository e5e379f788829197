"""Semantic segmentation: images in, a class for each pixel out."""

import copy
import itertools
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override

from modules.metrics.confusion import class_overlap, segmentation_scores
from modules.networks.deeplab import Backbone, deeplab, pretrained_classes
from modules.segmentation_evaluation import Evaluation
from sextant.errors import InputError
from sextant.export.graph import BATCH, NORMALIZED_IMAGE, ArgMax, Axis, ExportGraph, GraphInput
from sextant.mean_loss import mean_loss
from sextant.optimization import Optimization, parameter_groups

IGNORED = 255  # label of pixels that are neither learned nor measured


class SemanticSegmenter(LightningModule):
    """Segment images with DeepLabV3.

    Args:
        backbone: network that the features are from.
        num_classes: number of classes, the ground among them, the same as the data's.
        output_stride: pixels between two features. 8 is finer, and about three times the work of 16; torchvision's
            weights of ResNets were trained at 8, those of MobileNetV3 at 16.
        auxiliary: weight of the loss of a second head, on features from the middle of the backbone (Zhao et al. 2017,
            PSPNet); 0 leaves that head out.
        weights: pretrained weights of the whole network: a name of torchvision's such as ``COCO_WITH_VOC_LABELS_V1``,
            or the path of a file.
        backbone_weights: pretrained weights of the backbone alone: a name of torchvision's such as ``IMAGENET1K_V1``,
            or the path of a file.
        channels_last: keep images and filters in the memory format that is faster on most devices.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        head_lr_factor: the heads' learning rate, as a multiple of the backbone's, which is the optimizer's.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.PolynomialDecay`` follows the steps of the
            run, any other is stepped once per epoch.
        evaluation: how images are evaluated. It may differ from how the checkpoint was made.

    Batch: ``image`` float (B, 3, H, W), normalized; ``label`` int64 (B, H, W) with 255 for pixels that do not count,
    absent in ``predict``; ``index`` int64 (B,), below 0 for images that only fill the batch up. In training, H and W
    are those of the crop; elsewhere a batch has images of one size, which any size may be.

    Logged for train, val and test: ``loss``, the cross-entropy of the first head, in nats per labeled pixel. For val
    and test, over all pixels of the split from one confusion matrix: ``miou``, the mean over the classes that occur or
    were predicted of ``iou/<class>``, and ``pixel_accuracy``.

    The DataModule's ``classes``, a list of names, are kept in the checkpoint, so that ``predict`` needs no data set.
    """

    free_settings = frozenset({"evaluation"})

    def __init__(
        self,
        backbone: Backbone = "resnet50",
        num_classes: int = 21,
        output_stride: Literal[8, 16] = 16,
        auxiliary: float = 0.5,
        weights: str | None = None,
        backbone_weights: str | None = None,
        channels_last: bool = False,
        decay_norm_and_bias: bool = True,
        head_lr_factor: float = 1.0,
        optimizer: OptimizerCallable = torch.optim.SGD,
        scheduler: LRSchedulerCallable | None = None,
        evaluation: Evaluation | None = None,
    ) -> None:
        super().__init__()
        if not 2 <= num_classes <= IGNORED:
            raise InputError(f"model.num_classes is {num_classes}; it must be between 2 and {IGNORED}.")
        if auxiliary < 0:
            raise InputError(f"model.auxiliary is {auxiliary}; it must be 0 (no second head) or more.")
        if head_lr_factor <= 0:
            raise InputError(f"model.head_lr_factor is {head_lr_factor}; it must be above 0.")
        self.num_classes = num_classes
        self.auxiliary = auxiliary
        self.decay_norm_and_bias = decay_norm_and_bias
        self.head_lr_factor = head_lr_factor
        self.optimization = Optimization(optimizer, scheduler)
        self.evaluation = evaluation or Evaluation()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        network = deeplab(backbone, num_classes, output_stride, auxiliary > 0, weights, backbone_weights)
        self.network = network.to(memory_format=self.memory_format)
        self.example_input_array = torch.zeros(2, 3, 65, 65)
        self.train_metrics = MetricCollection({"loss": mean_loss()}, prefix="train/")
        self.val_metrics = self._metrics("val")
        self.test_metrics = self._metrics("test")
        known = pretrained_classes(backbone, weights)
        #: Whether torchvision's weights are all that it has, so that it knows something without training.
        self.pretrained = len(known) == num_classes
        #: Names of the classes, in the order of the labels, from the data, the checkpoint or torchvision's weights.
        self.classes: list[str] = known if self.pretrained else []
        #: Pixels of class i that the last validation or test took for class j, int64 (C, C).
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def _metrics(self, split: str) -> MetricCollection:
        confusion = MulticlassConfusionMatrix(self.num_classes, ignore_index=IGNORED, validate_args=False)
        return MetricCollection({"loss": mean_loss(), "confusion": confusion}, prefix=f"{split}/", compute_groups=False)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Float (B, 3, H, W), normalized, to logits (B, num_classes, H, W)."""
        return self.network(image.to(memory_format=self.memory_format))["out"]

    @override
    def setup(self, stage: str) -> None:
        """Take the names of the classes from the data.

        Raises:
            InputError: the data has another number of classes than the model.
        """
        classes = self._classes_of_the_data()
        if classes and len(classes) != self.num_classes:
            raise InputError(
                f"model.num_classes is {self.num_classes}, but the data has {len(classes)} classes ({classes[0]}, "
                f"{classes[1]}, ...). Run with --model.num_classes={len(classes)}, or give the names of the data's "
                "classes with --data.classes=FILE."
            )
        self.classes = classes or self.classes

    def _classes_of_the_data(self) -> list[str]:
        return list(getattr(self.trainer.datamodule, "classes", []))  # type: ignore[attr-defined]

    @override
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        image, label = batch["image"], batch["label"]
        self._need_several(image)
        logits = self.network(image.to(memory_format=self.memory_format))
        count = (label != IGNORED).sum()
        losses = {head: _cross_entropy(values.float(), label, count) for head, values in logits.items()}
        self.train_metrics["loss"].update(losses["out"].detach(), count)
        loss = losses["out"] + self.auxiliary * losses["aux"] if "aux" in losses else losses["out"]
        self.log("train/loss_step", loss, prog_bar=True)
        return loss

    def _need_several(self, image: Tensor) -> None:
        """The pyramid normalizes over one value of each image and channel: without others' images, it takes two."""
        if len(image) == 1 and any(type(module) is nn.BatchNorm2d for module in self.network.modules()):
            raise InputError(
                "A training batch of one image has nothing to normalize over (data.batch_size counts the images of "
                "all processes). Raise --data.batch_size so that every process has two or more."
            )

    def _evaluation_step(self, batch: dict[str, Tensor], metrics: MetricCollection) -> Tensor:
        """Measure a batch, and give the predicted labels, int64 (B, H, W)."""
        label = batch["label"]
        log_probabilities = self._evaluate(batch["image"])
        count = (label != IGNORED).sum()
        loss = F.nll_loss(log_probabilities, label, ignore_index=IGNORED, reduction="sum") / count.clamp(min=1)
        prediction = log_probabilities.argmax(1)
        metrics["loss"].update(loss, count)
        metrics["confusion"].update(prediction, label)
        return prediction

    def _evaluate(self, image: Tensor) -> Tensor:
        self.evaluation.need_memory(image, self.num_classes)
        return self.evaluation.log_probabilities(self, image)

    @override
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return {"prediction": self._evaluation_step(batch, self.val_metrics)}

    @override
    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._evaluation_step(batch, self.test_metrics)

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any] | None]:
        """For each image a row, None for one that fills the batch up.

        ``width`` and ``height`` in pixels, ``share/<class>`` of each class, and ``mask``, the labels as uint8
        (H, W).
        """
        rows: list[dict[str, Any] | None] = []
        for index, mask in zip(batch["index"].tolist(), self._evaluate(batch["image"]).argmax(1), strict=True):
            height, width = mask.shape
            counts = mask.flatten().bincount(minlength=self.num_classes).tolist()
            named = zip(self.class_names(), counts, strict=True)
            shares = {f"share/{name}": round(count / mask.numel(), 6) for name, count in named}
            row = {"width": width, "height": height, **shares, "mask": mask.to(torch.uint8).cpu()}
            rows.append(row if index >= 0 else None)
        return rows

    def export_graph(self) -> ExportGraph:
        """``image`` float (B, 3, H, W), normalized, to ``out``, logits (B, num_classes, H, W), of the first head."""
        network = copy.deepcopy(self.network)
        if network.aux_classifier is not None:
            del network.aux_classifier
            network.aux_classifier = None  # no module now, which TorchScript understands
        height, width = Axis("height", example=264, low=32), Axis("width", example=232, low=32)
        return ExportGraph(
            network=network,
            inputs=(GraphInput("image", (BATCH, 3, height, width)),),
            outputs=("out",),
            read=lambda batch: (batch["image"],),
            decide=ArgMax(1),
            names=self.class_names(),
            image_size=(400, 400),
            metric="val/miou",
            gives_dictionary=True,
            about={
                "image": NORMALIZED_IMAGE,
                "out": "a score of each class for each pixel",
            },
        )

    def class_names(self) -> list[str]:
        """The names of the classes, or their numbers where neither data nor a checkpoint was read."""
        return self.classes or [f"class {label}" for label in range(self.num_classes)]

    @override
    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_metrics.compute())
        self.train_metrics.reset()

    @override
    def on_validation_epoch_end(self) -> None:
        values = self._log_epoch(self.val_metrics, "val")
        self.log("val_miou", values["val/miou"], prog_bar=True, logger=False)
        self.optimization.validated(self, values)

    @override
    def on_test_epoch_end(self) -> None:
        self._log_epoch(self.test_metrics, "test")

    def _log_epoch(self, metrics: MetricCollection, split: str) -> dict[str, Tensor]:
        values = metrics.compute()
        metrics.reset()
        self.confusion = values.pop(f"{split}/confusion")
        values |= {f"{split}/{name}": value for name, value in segmentation_scores(self.confusion).items()}
        overlap = zip(self.class_names(), class_overlap(self.confusion), strict=True)
        values |= {f"{split}/iou/{name}": value for name, value in overlap if not value.isnan()}
        self.log_dict(values)
        return values

    @override
    def configure_optimizers(self) -> Any:
        groups = []
        for name, part in self.network.named_children():
            factor = 1.0 if name == "backbone" else self.head_lr_factor
            groups += [g | {"lr_factor": factor} for g in parameter_groups(part, self.decay_norm_and_bias)]
        return self.optimization.configure(self, groups)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classes"] = self.classes

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the names of the classes from the checkpoint where there is no data set.

        Raises:
            InputError: the checkpoint was trained on other classes than the data's.
        """
        trained, present = checkpoint.get("classes", []), self._classes_of_the_data()
        if present and trained and trained != present:
            old, new = next((a, b) for a, b in itertools.zip_longest(trained, present) if a != b)
            raise InputError(
                f"The checkpoint was trained on other classes than the data has: {old!r} where the data has {new!r}, "
                "for instance. Give the data it was trained on with --data.root, or its classes with --data.classes."
            )
        self.classes = present or trained or self.classes


def _cross_entropy(logits: Tensor, label: Tensor, count: Tensor) -> Tensor:
    """The mean over labeled pixels; 0 without any."""
    return F.cross_entropy(logits, label, ignore_index=IGNORED, reduction="sum") / count.clamp(min=1)
