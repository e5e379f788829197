"""Log-mel features of speech."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from sextant.errors import InputError

WINDOW = 0.025  # seconds
HOP = 0.010
FLOOR = 1e-10  # of a mel filter's energy, so that silence has a logarithm


@dataclass(frozen=True)
class Features:
    """The features of speech.

    Args:
        sample_rate: of the recordings, per second; in ``predict``, other rates are resampled to it.
        num_features: mel filters.
    """

    sample_rate: int = 16000
    num_features: int = 80

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a value is out of its range.
        """
        if not 4000 <= self.sample_rate <= 192_000:
            raise InputError(f"data.features.sample_rate is {self.sample_rate}; it must be between 4000 and 192000.")
        if self.num_features < 1:
            raise InputError(f"data.features.num_features is {self.num_features}; it must be 1 or more.")


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
