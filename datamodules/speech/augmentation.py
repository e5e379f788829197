"""Random changes of speech while training: its speed, and masks over its features."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchaudio.transforms import SpecAugment, SpeedPerturbation

from sextant.errors import InputError

FASTEST = 2  # a recording has at least one frame of features at this speed


@dataclass(frozen=True)
class Augmentation:
    """The strength of the random changes.

    Sources: Ko et al. 2015 (https://www.isca-archive.org/interspeech_2015/ko15_interspeech.html) and SpecAugment, Park
    et al. 2019 (https://arxiv.org/abs/1904.08779), without its time warping.

    Args:
        speeds: factors of speed between 0.5 and 2, of which each training batch draws one; empty for none.
        time_masks: masks over time in each training utterance.
        time_mask_width: the most frames of 10 ms in such a mask.
        time_mask_fraction: the largest fraction of the batch's longest utterance in such a mask.
        feature_masks: masks over mel filters in each training utterance.
        feature_mask_width: the most filters in such a mask.
    """

    speeds: Sequence[float] = (0.9, 1.0, 1.1)
    time_masks: int = 5
    time_mask_width: int = 100
    time_mask_fraction: float = 0.05
    feature_masks: int = 2
    feature_mask_width: int = 27

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a value is out of its range.
        """
        for speed in self.speeds:
            if not 1 / FASTEST <= speed <= FASTEST:
                raise InputError(
                    f"data.augmentation.speeds is {list(self.speeds)}; each must be between {1 / FASTEST:g} and "
                    f"{FASTEST:g}."
                )
        for key, count in (("time_masks", self.time_masks), ("feature_masks", self.feature_masks)):
            if count < 0:
                raise InputError(f"data.augmentation.{key} is {count}; it must be 0 (none) or more.")
        for key, width in (("time_mask_width", self.time_mask_width), ("feature_mask_width", self.feature_mask_width)):
            if width < 1:
                raise InputError(f"data.augmentation.{key} is {width}; it must be 1 or more.")
        if not 0 < self.time_mask_fraction <= 1:
            raise InputError(
                f"data.augmentation.time_mask_fraction is {self.time_mask_fraction}; it must be above 0 and at most 1."
            )

    @property
    def slowest(self) -> float:
        """The lowest of the speeds, 1 if there are none."""
        return min(self.speeds, default=1.0)


class SpeechAugmentation(nn.Module):
    """Speed perturbation, to be applied before features are computed, and SpecAugment's masks over these.

    Args:
        sample_rate: samples per second.
        settings: the strength of the changes.
    """

    def __init__(self, sample_rate: int, settings: Augmentation) -> None:
        super().__init__()
        self.speed = SpeedPerturbation(sample_rate, list(settings.speeds)) if settings.speeds else None
        self.masks = nn.ModuleList()
        if settings.time_masks:
            width, fraction = settings.time_mask_width, settings.time_mask_fraction
            self.masks.append(SpecAugment(settings.time_masks, width, 0, 1, p=fraction, zero_masking=True))
        if settings.feature_masks:
            width = settings.feature_mask_width
            self.masks.append(SpecAugment(0, 1, settings.feature_masks, width, zero_masking=True))

    def change_speed(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Audio (B, S) and lengths int64 (B,) to others, at a speed that is drawn."""
        return (audio, lengths) if self.speed is None else self.speed(audio, lengths)

    def mask(self, features: Tensor) -> Tensor:
        """Features (B, T, F) to such with parts of them 0, their mean."""
        for masks in self.masks:
            features = masks(features.transpose(1, 2)).transpose(1, 2)
        return features
