"""Features are those of the textbook whatever they are padded with."""

import math

import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.speech.log_mel import LogMel

RATE = 16000
WINDOW, HOP = 512, 160
FEATURES = 20


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel(RATE, FEATURES)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lengths_of(*samples: int) -> Tensor:
    return torch.tensor(samples)


def textbook(audio: Tensor) -> Tensor:
    """Normalized log-mel features (T, F) of one utterance (S,), from the Fourier transform on."""
    spectrum = torch.stft(
        audio, WINDOW, HOP, 400, torch.hann_window(400), center=False, normalized=False, return_complex=True
    )
    filters = torchaudio.functional.melscale_fbanks(WINDOW // 2 + 1, 0.0, RATE / 2, FEATURES, RATE)
    log = (spectrum.abs().square().T @ filters).clamp(min=1e-10).log()
    return (log - log.mean(0)) / (log.std(0, unbiased=False) + 1e-5)


def test_features_are_those_of_a_direct_computation(log_mel: LogMel) -> None:
    audio = noise(2, 9000)
    audio[1] += torch.sin(torch.arange(9000) / 3)
    features, frames = log_mel(audio, lengths_of(9000, 9000))
    assert frames.tolist() == [(9000 - WINDOW) // HOP + 1] * 2
    torch.testing.assert_close(features, torch.stack([textbook(row) for row in audio]), rtol=1e-3, atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(WINDOW, 5000), min_size=1, max_size=4),
    beyond=st.integers(0, 1000),
    seed=st.integers(0, 1000),
)
def test_no_feature_of_an_utterance_depends_on_what_it_is_padded_with(
    lengths: list[int], beyond: int, seed: int
) -> None:
    log_mel = LogMel(RATE, FEATURES).double()  # so that what rounding does to few frames stays small
    audio = 10 * noise(len(lengths), max(lengths) + beyond, seed=seed).double()  # noise in the padding, too
    features, frames = log_mel(audio, lengths_of(*lengths))
    assert features.shape[0] == len(frames) == len(lengths)
    assert features.shape[1] >= frames.max()
    for row, length, padded, count in zip(audio, lengths, features, frames.tolist(), strict=True):
        alone, alone_frames = log_mel(row[None, :length], lengths_of(length))
        assert alone_frames.tolist() == [count] == [alone.shape[1]]
        torch.testing.assert_close(padded[:count], alone[0], rtol=1e-6, atol=1e-6)
        assert (padded[count:] == 0).all()


@pytest.mark.parametrize(
    ("rate", "window", "hop"), [(8000, 256, 80), (16000, 512, 160), (22050, 1024, 220), (44100, 2048, 441)]
)
def test_number_of_frames_is_that_of_whole_windows(rate: int, window: int, hop: int) -> None:
    log_mel = LogMel(rate, FEATURES)
    assert (log_mel.window, log_mel.hop) == (window, hop)
    assert log_mel.window >= 0.025 * rate
    samples = torch.arange(window, window + 3 * hop)
    starts = [range(0, count - window + 1, hop) for count in samples.tolist()]
    assert log_mel.frames(samples).tolist() == [len(places) for places in starts]
    features, frames = log_mel(noise(len(samples), int(samples.max())), samples)
    assert features.shape == (len(samples), frames.max(), FEATURES)


def test_features_of_an_utterance_have_mean_0_and_deviation_1(log_mel: LogMel) -> None:
    features, frames = log_mel(noise(3, 8000), lengths_of(8000, 3000, 1500))
    for row, count in zip(features, frames.tolist(), strict=True):
        torch.testing.assert_close(row[:count].mean(0), torch.zeros(FEATURES), rtol=0, atol=1e-5)
        torch.testing.assert_close(row[:count].std(0, unbiased=False), torch.ones(FEATURES), rtol=0, atol=1e-3)


def test_loudness_does_not_change_features(log_mel: LogMel) -> None:
    audio, lengths = noise(1, 8000), lengths_of(8000)
    torch.testing.assert_close(log_mel(0.05 * audio, lengths)[0], log_mel(audio, lengths)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-4, 0.5, 1.0])
@pytest.mark.parametrize("samples", [WINDOW, WINDOW + HOP - 1, WINDOW + HOP, 8000])
def test_silence_and_constant_audio_have_finite_features(log_mel: LogMel, level: float, samples: int) -> None:
    audio = torch.full((2, 9000), level)
    features, frames = log_mel(audio, lengths_of(9000, samples))
    assert frames[1] == (samples - WINDOW) // HOP + 1
    assert features.isfinite().all()
    if level == 0:
        assert features.abs().max() <= 1


def test_speech_after_silence_has_finite_features(log_mel: LogMel) -> None:
    audio = noise(1, 8000)
    audio[:, :4000] = 0
    features, _ = log_mel(audio, lengths_of(8000))
    assert features.isfinite().all()
    assert features[0, :20].mean() < -0.5 < 0.5 < features[0, 30:].mean()


def test_shortest_audio_has_one_frame(log_mel: LogMel) -> None:
    features, frames = log_mel(noise(1, WINDOW), lengths_of(WINDOW))
    assert frames.tolist() == [1]
    assert features.shape == (1, 1, FEATURES)
    assert features.isfinite().all()


@pytest.mark.parametrize("tone", [200, 440, 1000, 3000, 7000])
def test_tone_is_found_in_the_filter_of_its_pitch(log_mel: LogMel, tone: int) -> None:
    # Of an utterance half of which is silence, the filters that hear the tone rise the most above the floor.
    time = torch.arange(8000) / RATE
    energies = log_mel.mel(torch.sin(2 * math.pi * tone * time)[None])[0].mean(-1)
    mel = 2595 * math.log10(1 + tone / 700)
    spacing = 2595 * math.log10(1 + RATE / 2 / 700) / (FEATURES + 1)
    assert abs(int(energies.argmax()) + 1 - mel / spacing) < 1
