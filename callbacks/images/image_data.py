"""What callbacks that show images need of the DataModule."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class ImageData(Protocol):
    """A DataModule of images, whose batches have them normalized in ``image``."""

    def to_images(self, image: Tensor) -> Tensor:
        """Undo the normalization: float (B, 3, H, W) to uint8 (B, 3, H, W)."""


@runtime_checkable
class NamedImageData(ImageData, Protocol):
    """A DataModule of images that have names."""

    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        """The files of a batch's images."""
