"""Log-mel features of speech, and how they are changed at random while training."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram, SpecAugment, SpeedPerturbation

WINDOW = 0.025  # seconds
HOP = 0.010
FLOOR = 1e-10  # of a mel filter's energy, so that silence has a logarithm


class LogMel(nn.Module):
    """Log-mel features, each normalized over its utterance.

    No frame reaches beyond the end of an utterance, and the padding takes no part in mean and deviation, so features do
    not depend on it.

    Args:
        sample_rate: samples per second.
        num_features: mel filters.
    """

    def __init__(self, sample_rate: int, num_features: int) -> None:
        super().__init__()
        self.hop = round(HOP * sample_rate)
        self.window = 2 ** (round(WINDOW * sample_rate) - 1).bit_length()  # in samples, of the Fourier transform
        self.mel = MelSpectrogram(
            sample_rate,
            n_fft=self.window,
            win_length=round(WINDOW * sample_rate),
            hop_length=self.hop,
            n_mels=num_features,
            center=False,
        )

    def description(self) -> dict[str, Any]:
        """The settings, as plain values."""
        return {
            "kind": "logarithms of mel filters' energies, normalized over an utterance to mean 0 and deviation 1",
            "n_fft": self.mel.n_fft,
            "win_length": self.mel.win_length,
            "hop_length": self.mel.hop_length,
            "n_mels": self.mel.n_mels,
            "window": "Hann",
            "centered": False,
            "floor": FLOOR,
        }

    def frames(self, samples: Tensor) -> Tensor:
        """How many frames there are in so many samples; both int64 (B,)."""
        return (samples - self.window) // self.hop + 1

    def forward(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features on the device of the audio.

        Args:
            audio: float (B, S) in [-1, 1], padded on the right.
            lengths: int64 (B,), in samples, at least :attr:`window`.

        Returns:
            Features (B, T, num_features) of mean 0 and deviation 1 over each utterance, 0 in the padding, and their
            frames, int64 (B,).
        """
        features = self.mel(audio).clamp(min=FLOOR).log().transpose(1, 2)
        frames = self.frames(lengths)
        mask = (torch.arange(features.shape[1], device=audio.device) < frames[:, None])[..., None]
        count = frames[:, None, None]
        mean = features.where(mask, 0).sum(1, keepdim=True) / count
        centered = (features - mean).where(mask, 0)
        deviation = (centered.square().sum(1, keepdim=True) / count).sqrt()
        return centered / (deviation + 1e-5), frames


class SpeechAugmentation(nn.Module):
    """Change speech at random: its speed before the features are computed, and masks over these.

    Sources: Ko et al. 2015 (https://www.isca-archive.org/interspeech_2015/ko15_interspeech.html) and Park et al. 2019
    (https://arxiv.org/abs/1904.08779), without its time warping.

    Args:
        sample_rate: samples per second.
        speeds: factors of speed, of which each batch draws one; empty for none.
        time_masks: masks over time, drawn for each utterance.
        time_mask_width: the most frames in such a mask.
        time_mask_share: the largest share of the frames of the longest utterance in such a mask.
        feature_masks: masks over features.
        feature_mask_width: the most features in such a mask.
    """

    def __init__(
        self,
        sample_rate: int,
        speeds: Sequence[float],
        time_masks: int,
        time_mask_width: int,
        time_mask_share: float,
        feature_masks: int,
        feature_mask_width: int,
    ) -> None:
        super().__init__()
        self.speed = SpeedPerturbation(sample_rate, list(speeds)) if speeds else None
        self.masks = nn.ModuleList()
        if time_masks:
            self.masks.append(SpecAugment(time_masks, time_mask_width, 0, 1, p=time_mask_share, zero_masking=True))
        if feature_masks:
            self.masks.append(SpecAugment(0, 1, feature_masks, feature_mask_width, zero_masking=True))

    def change_speed(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Audio (B, S) and lengths int64 (B,) to others, at a speed that is drawn."""
        return (audio, lengths) if self.speed is None else self.speed(audio, lengths)

    def mask(self, features: Tensor) -> Tensor:
        """Features (B, T, F) to such with parts of them 0, their mean."""
        for masks in self.masks:
            features = masks(features.transpose(1, 2)).transpose(1, 2)
        return features
