"""Scores of a confusion matrix: IoU by class, its mean, and pixel accuracy."""

from torch import Tensor


def class_overlap(confusion: Tensor) -> Tensor:
    """Intersection over union of each class: its true positives / (true positives + false positives + false negatives).

    The measure of Pascal VOC (Everingham et al. 2010, section 4.2.2).

    Args:
        confusion: pixels of class i that were taken for class j, int64 (C, C).

    Returns:
        float64 (C,) in [0, 1]; NaN for a class that neither occurs nor was predicted.
    """
    confusion = confusion.double()
    right = confusion.diagonal()
    return right / (confusion.sum(0) + confusion.sum(1) - right)


def segmentation_scores(confusion: Tensor) -> dict[str, Tensor]:
    """The mean IoU and the pixel accuracy.

    Args:
        confusion: as of :func:`class_overlap`.

    Returns:
        ``miou``, the mean of :func:`class_overlap` over the classes that occur or were predicted, and
        ``pixel_accuracy``, the fraction of labeled pixels that are right; NaN without any pixel.
    """
    return {
        "miou": class_overlap(confusion).nanmean(),
        "pixel_accuracy": confusion.diagonal().sum().double() / confusion.sum(),
    }
