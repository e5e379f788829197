"""Semantic segmentation: images in, a class for each pixel out."""

import copy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override

from modules.metrics.confusion import class_overlap, segmentation_scores
from modules.networks.deeplab import Backbone, deeplab, pretrained_classes
from modules.segmentation_evaluation import Evaluation
from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.export.graph import BATCH, NORMALIZED_IMAGE, ArgMax, Axis, ExportGraph, GraphInput
from sextant.module import BaseModule, Split
from sextant.optimization import named_groups, parameter_groups

IGNORED = 255  # label of pixels that are neither learned nor measured


class SemanticSegmenter(BaseModule):
    """DeepLabV3 that gives each pixel of an image a class.

    Args:
        backbone: the network that computes the features.
        num_classes: number of classes, the background among them, the same as the data's.
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
        head_lr_factor: learning rate of the heads as a multiple of the backbone's, which is the optimizer's.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.PolynomialDecay`` follows the steps of the
            run, any other is stepped once per epoch.
        evaluation: how images are evaluated. A resumed run may change it.

    Batch: ``image`` float (B, 3, H, W), normalized; ``label`` int64 (B, H, W) with 255 for pixels that do not count,
    absent in ``predict``; ``index`` int64 (B,), below 0 for images that only pad the batch. In training, H and W are
    those of the crop; elsewhere the images of a batch have one size, whichever it is.

    Logged for train, val and test: ``loss``, the cross-entropy of the first head, in nats per labeled pixel. For val
    and test, over all pixels of the split from one confusion matrix: ``miou``, the mean over the classes that occur or
    were predicted of ``iou/<class>``, and ``pixel_accuracy``.

    The labels of the data are kept in the checkpoint, so that ``predict`` needs no data set.
    """

    headline = "miou"

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
        super().__init__(optimizer, scheduler, decay_norm_and_bias)
        if not 2 <= num_classes <= IGNORED:
            raise InputError(f"model.num_classes is {num_classes}; it must be between 2 and {IGNORED}.")
        if auxiliary < 0:
            raise InputError(f"model.auxiliary is {auxiliary}; it must be 0 (no second head) or more.")
        if head_lr_factor <= 0:
            raise InputError(f"model.head_lr_factor is {head_lr_factor}; it must be above 0.")
        self.num_classes = num_classes
        self.auxiliary = auxiliary
        self.head_lr_factor = head_lr_factor
        self.evaluation = evaluation or Evaluation()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        network = deeplab(backbone, num_classes, output_stride, auxiliary > 0, weights, backbone_weights)
        self.network = network.to(memory_format=self.memory_format)
        self.example_input_array = torch.zeros(1, 3, 65, 65)
        confusion = MulticlassConfusionMatrix(num_classes, ignore_index=IGNORED, validate_args=False)
        self.add_metrics({"confusion": confusion}, splits=("val", "test"))
        known = pretrained_classes(backbone, weights)
        #: Whether torchvision's weights are all that it has, so that it knows something without training.
        self.pretrained = len(known) == num_classes
        self._pretrained_classes = tuple(known) if self.pretrained else ()
        #: Pixels of class i that the last validation or test took for class j, int64 (C, C).
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Float (B, 3, H, W), normalized, to logits (B, num_classes, H, W)."""
        return self.network(image.to(memory_format=self.memory_format))["out"]

    @override
    def check_data(self, spec: DataSpec) -> None:
        spec.require_label_count(self.num_classes, "num_classes")

    @override
    def step(self, batch: dict[str, Tensor], metrics: MetricCollection) -> dict[str, Tensor]:
        """The cross-entropy of all heads while training; elsewhere that of the first head, and its prediction."""
        return self._learn(batch, metrics) if self.training else self._measure(batch, metrics)

    def _learn(self, batch: dict[str, Tensor], metrics: MetricCollection) -> dict[str, Tensor]:
        image, label = batch["image"], batch["label"]
        self._need_several(image)
        logits = self.network(image.to(memory_format=self.memory_format))
        count = (label != IGNORED).sum()
        losses = {head: _cross_entropy(values.float(), label, count) for head, values in logits.items()}
        metrics["loss"].update(losses["out"].detach(), count)
        return {"loss": losses["out"] + self.auxiliary * losses["aux"] if "aux" in losses else losses["out"]}

    def _measure(self, batch: dict[str, Tensor], metrics: MetricCollection) -> dict[str, Tensor]:
        label = batch["label"]
        log_probabilities = self._evaluate(batch["image"])
        count = (label != IGNORED).sum()
        loss = F.nll_loss(log_probabilities, label, ignore_index=IGNORED, reduction="sum") / count.clamp(min=1)
        prediction = log_probabilities.argmax(1)
        metrics["loss"].update(loss, count)
        metrics["confusion"].update(prediction, label)
        return {"loss": loss, "prediction": prediction}

    def _need_several(self, image: Tensor) -> None:
        """Require two images or more: a branch of the pyramid has one value of each image and channel to normalize."""
        if len(image) == 1 and any(type(module) is nn.BatchNorm2d for module in self.network.modules()):
            raise InputError(
                "A training batch of one image has nothing to normalize over (data.batch_size counts the images of "
                "all processes). Raise --data.batch_size so that every process has two or more."
            )

    def _evaluate(self, image: Tensor) -> Tensor:
        self.evaluation.need_memory(image, self.num_classes)
        return self.evaluation.log_probabilities(self, image)

    @override
    def epoch_values(self, values: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        if split == "train":
            return values
        self.confusion = values.pop(f"{split}/confusion")
        values |= {f"{split}/{name}": value for name, value in segmentation_scores(self.confusion).items()}
        overlap = zip(self.pixel_class_names(), class_overlap(self.confusion), strict=True)
        return values | {f"{split}/iou/{name}": value for name, value in overlap if not value.isnan()}

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any] | None]:
        """For each image a row, None for one that pads the batch.

        ``width`` and ``height`` in pixels, ``fraction/<class>`` of the pixels for each class, and ``mask``, the labels
        as uint8 (H, W).
        """
        rows: list[dict[str, Any] | None] = []
        for index, mask in zip(batch["index"].tolist(), self._evaluate(batch["image"]).argmax(1), strict=True):
            height, width = mask.shape
            counts = mask.flatten().bincount(minlength=self.num_classes).tolist()
            named = zip(self.pixel_class_names(), counts, strict=True)
            fractions = {f"fraction/{name}": round(count / mask.numel(), 6) for name, count in named}
            row = {"width": width, "height": height, **fractions, "mask": mask.to(torch.uint8).cpu()}
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
            names=list(self.pixel_class_names()),
            image_size=(400, 400),
            metric="val/miou",
            gives_dictionary=True,
            about={
                "image": NORMALIZED_IMAGE,
                "out": "logits of the classes for each pixel",
            },
        )

    def pixel_class_names(self) -> tuple[str, ...]:
        """The names of the classes: of the data or checkpoint, else of torchvision's weights, else their numbers."""
        numbers = (f"class {label}" for label in range(self.num_classes))
        return self.data_spec.labels or self._pretrained_classes or tuple(numbers)

    @override
    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = []
        for name, part in self.network.named_children():
            factor = 1.0 if name == "backbone" else self.head_lr_factor
            groups += named_groups(name, parameter_groups(part, self.decay_norm_and_bias), factor)
        return groups


def _cross_entropy(logits: Tensor, label: Tensor, count: Tensor) -> Tensor:
    """The mean over labeled pixels; 0 without any."""
    return F.cross_entropy(logits, label, ignore_index=IGNORED, reduction="sum") / count.clamp(min=1)
