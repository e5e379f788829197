"""Class probabilities of whole images: at once, in windows, or as the mean over scales and mirror images."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from sextant.errors import InputError
from sextant.memory import available_memory

# Upper bounds of the bytes that the network takes per input pixel, and the probabilities per pixel and class. Of the
# backbones and strides, ResNet-101 at 8 takes most: 865 bytes per pixel with 21 classes, where these two give 1,036.
NETWORK_BYTES = 700
PROBABILITY_BYTES = 16


@dataclass(frozen=True)
class Evaluation:
    """Settings of the evaluation of images: in ``validate``, ``test``, ``predict`` and the validations of ``fit``.

    Args:
        window: side of the squares, in pixels, in which an image is evaluated; None evaluates it at once.
        stride: pixels from one window to the next, two thirds of ``window`` by default. Where windows overlap, their
            probabilities are averaged.
        scales: factors by which an image is resized; the probabilities at all of them are averaged.
        flip: evaluate the mirror image too, and average the probabilities.

    Raises:
        InputError: a setting is out of its range.
    """

    window: int | None = None
    stride: int | None = None
    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 32:
            raise InputError(f"model.evaluation.window is {self.window}; it must be 32 or more.")
        if self.stride is not None and self.window is None:
            raise InputError("model.evaluation.stride is of windows: give model.evaluation.window too.")
        if self.stride is not None and self.window is not None and not 1 <= self.stride <= self.window:
            raise InputError(f"model.evaluation.stride is {self.stride}; it must be between 1 and {self.window}.")
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"model.evaluation.scales is {self.scales}; it must have scales above 0.")

    def log_probabilities(self, network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        """Log-probabilities of the classes for images of one size.

        Args:
            network: float (B, 3, h, w) to logits (B, C, h, w), for any h and w.
            image: float (B, 3, H, W).

        Returns:
            float32 (B, C, H, W).
        """
        if self.window is None and self.scales == [1.0] and not self.flip:
            return network(image).float().log_softmax(1)
        size = image.shape[-2:]
        views = list(itertools.product(self.scales, (False, True) if self.flip else (False,)))
        total = torch.zeros(())
        for scale, mirrored in views:
            view = image.flip(-1) if mirrored else image
            if scale != 1:
                scaled = [max(1, round(scale * side)) for side in size]
                view = F.interpolate(view, scaled, mode="bilinear", align_corners=False, antialias=True)
            probabilities = self._probabilities(network, view)
            if mirrored:
                probabilities = probabilities.flip(-1)
            if scale != 1:
                probabilities = F.interpolate(probabilities, size, mode="bilinear", align_corners=False)
            total = total.to(image.device) + probabilities
        return (total / len(views)).clamp(min=torch.finfo(torch.float32).tiny).log()

    def _probabilities(self, network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        if self.window is None:
            return network(image).float().softmax(1)
        total, count = torch.zeros(()), image.new_zeros(image.shape[-2:])
        for rows, columns in itertools.product(self._spans(image.shape[-2]), self._spans(image.shape[-1])):
            probabilities = network(image[..., rows, columns]).float().softmax(1)
            if total.ndim == 0:
                total = probabilities.new_zeros(*probabilities.shape[:2], *image.shape[-2:])
            total[..., rows, columns] += probabilities
            count[rows, columns] += 1
        return total / count

    def _spans(self, length: int) -> Iterator[slice]:
        """The windows along a side of an image; the last one ends with the image."""
        assert self.window is not None
        stride = self.stride or -(-2 * self.window // 3)
        last = max(0, length - self.window)
        for start in [*range(0, last, stride), last]:
            yield slice(start, min(start + self.window, length))

    def need_memory(self, image: Tensor, num_classes: int) -> None:
        """Require that an image fits into memory, before anything is allocated.

        Raises:
            InputError: it does not; the message names the setting that helps.
        """
        height, width = image.shape[-2:]
        largest = max(self.scales) ** 2 * height * width
        at_once = largest if self.window is None else min(largest, self.window**2)
        output_values = max(largest, height * width) * num_classes
        needed = len(image) * (at_once * NETWORK_BYTES + output_values * PROBABILITY_BYTES)
        available = available_memory(image.device)
        if needed > available:
            if self.window is None:
                advice = "Evaluate it in windows with --model.evaluation.window=513"
            elif max(self.scales) > 1:
                advice = "Use smaller --model.evaluation.scales, or make the image smaller"
            else:
                advice = "Make the image smaller"
            raise InputError(
                f"An image of {width}x{height} pixels takes about {needed / 1e9:.1f} GB of memory, and "
                f"{available / 1e9:.1f} GB are free. {advice}."
            )
