"""Images are normalized as torchvision's pretrained weights expect it."""

import pytest
from torchvision.models import ResNet18_Weights
from torchvision.models.segmentation import DeepLabV3_ResNet50_Weights

from datamodules.images.normalization import IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize(
    "weights", [ResNet18_Weights.IMAGENET1K_V1, DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1]
)
def test_mean_and_deviation_are_those_of_the_pretrained_weights(
    weights: ResNet18_Weights | DeepLabV3_ResNet50_Weights,
) -> None:
    preset = weights.transforms()
    assert (preset.mean, preset.std) == (IMAGENET_MEAN, IMAGENET_STD)
