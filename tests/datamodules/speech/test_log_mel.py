"""Features are those of the textbook whatever they are padded with, and changes at random keep to what is said."""

import itertools
import math
from typing import Any

import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.speech.log_mel import LogMel, SpeechAugmentation

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


# Features


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


# Speed


def augmentation(**options: Any) -> SpeechAugmentation:
    """One that does nothing but what is asked for."""
    nothing: dict[str, Any] = {
        "sample_rate": RATE,
        "speeds": (),
        "time_masks": 0,
        "time_mask_width": 10,
        "time_mask_share": 1.0,
        "feature_masks": 0,
        "feature_mask_width": 5,
    }
    return SpeechAugmentation(**nothing | options)


@pytest.mark.parametrize("speed", [0.5, 0.9, 0.95, 1.0, 1.1, 1.25, 2.0])
def test_speed_changes_lengths_and_pitch_by_its_factor(speed: float) -> None:
    lengths = lengths_of(16000, 9999, 5001, 512)
    tone = torch.sin(2 * math.pi * 440 * torch.arange(16000) / RATE).repeat(4, 1)
    audio, changed = augmentation(speeds=[speed]).change_speed(tone, lengths)
    assert changed.dtype == torch.int64
    assert changed.tolist() == [math.ceil(round(count / speed, 6)) for count in lengths.tolist()]
    assert audio.shape == (4, changed.max())
    inside = audio[0, 1000:-1000]
    spectrum = torch.fft.rfft(inside * torch.hann_window(len(inside))).abs()
    pitch = float(spectrum.argmax()) * RATE / len(inside)
    assert pitch == pytest.approx(440 * speed, rel=0.005)
    assert audio[0, 2000:-2000].abs().max() == pytest.approx(1, abs=0.02)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40 * RATE))
def test_lengths_at_another_speed_are_never_beyond_the_audio(samples: int) -> None:
    slow = augmentation(speeds=[0.9])
    audio, changed = slow.change_speed(torch.zeros(1, samples), lengths_of(samples))
    assert changed.tolist() == [audio.shape[1]]


def test_padding_does_not_change_features_at_another_speed(log_mel: LogMel) -> None:
    audio = noise(2, 9000)
    audio[1, 5000:] = 0
    for speed in (0.9, 1.1):
        changer = augmentation(speeds=[speed])
        features, frames = log_mel(*changer.change_speed(audio, lengths_of(9000, 5000)))
        alone, count = log_mel(*changer.change_speed(audio[1:, :5000], lengths_of(5000)))
        assert frames[1] == count[0]
        torch.testing.assert_close(features[1, : count[0]], alone[0], rtol=1e-3, atol=1e-3)


def test_each_speed_is_drawn_about_equally_often_and_repeats_with_the_seed() -> None:
    changer = augmentation(speeds=[0.9, 1.0, 1.1])
    audio, lengths = torch.zeros(1, 990), lengths_of(990)

    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return [int(changer.change_speed(audio, lengths)[1]) for _ in range(600)]

    drawn = draw(1)
    assert set(drawn) == {1100, 990, 900}
    assert all(150 < drawn.count(length) < 250 for length in set(drawn))
    assert drawn == draw(1) != draw(2)


def test_without_speeds_audio_is_left_alone() -> None:
    audio, lengths = noise(2, 900), lengths_of(900, 300)
    assert augmentation().change_speed(audio, lengths) == (audio, lengths)


# Masks


def holes(line: Tensor) -> list[int]:
    """The widths of the runs of zeros in a vector."""
    return [len(list(run)) for zero, run in itertools.groupby((line == 0).tolist()) if zero]


@pytest.mark.parametrize(("kind", "width"), [("time", 10), ("feature", 5), ("time", 1), ("feature", 1)])
def test_mask_is_one_hole_of_zeros_at_most_as_wide_as_said(kind: str, width: int) -> None:
    masks = augmentation(**{f"{kind}_masks": 1, f"{kind}_mask_width": width})
    torch.manual_seed(0)
    features = noise(500, 50, FEATURES) + 3
    masked = masks.mask(features)
    assert masked.shape == features.shape
    assert ((masked == 0) | (masked == features)).all()
    widths = []
    for row in masked:
        across = row if kind == "time" else row.T
        assert ((across == 0).all(1) == (across == 0).any(1)).all(), "a mask goes across all of the other axis"
        (hole,) = holes(across[:, 0]) or [0]
        widths.append(hole)
    assert max(widths) <= width
    assert max(widths) >= 0.8 * width - 1
    assert len(set(widths)) > min(width, 3) - 1, "each utterance has masks of its own"


@pytest.mark.parametrize("kind", ["time", "feature"])
def test_masks_reach_every_place(kind: str) -> None:
    masks = augmentation(**{f"{kind}_masks": 1})
    torch.manual_seed(0)
    masked = masks.mask(torch.ones(3000, 50, FEATURES)) == 0
    covered = masked.any(2).any(0) if kind == "time" else masked.any(1).any(0)
    assert covered[:-1].all()  # torchaudio spares the last one


def test_several_masks_take_no_more_than_so_many_together() -> None:
    torch.manual_seed(0)
    masks = augmentation(time_masks=3, time_mask_width=6, feature_masks=2, feature_mask_width=4)
    masked = masks.mask(torch.ones(300, 60, FEATURES)) == 0
    time, across = masked.all(2).sum(1), masked.all(1).sum(1)
    assert 6 < time.max() <= 3 * 6
    assert 4 < across.max() <= 2 * 4
    assert max(len(holes(1 - row.all(1).float())) for row in masked) in (2, 3)


@pytest.mark.parametrize(("frames", "share"), [(200, 0.05), (50, 0.5), (30, 0.02)])
def test_mask_over_time_takes_no_more_than_its_share(frames: int, share: float) -> None:
    torch.manual_seed(0)
    masks = augmentation(time_masks=1, time_mask_width=100, time_mask_share=share)
    masked = masks.mask(torch.ones(300, frames, FEATURES)) == 0
    assert masked.all(2).sum(1).max() <= share * frames


def test_masks_repeat_with_the_seed() -> None:
    masks = augmentation(time_masks=2, feature_masks=2)

    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return masks.mask(torch.ones(4, 50, FEATURES))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_masks_wider_than_the_features_are_allowed() -> None:
    torch.manual_seed(0)
    masks = augmentation(time_masks=2, time_mask_width=100, feature_masks=2, feature_mask_width=100)
    masked = masks.mask(torch.ones(50, 7, 3))
    assert ((masked == 0) | (masked == 1)).all()


def test_nothing_is_masked_when_masks_are_off() -> None:
    features = noise(2, 50, FEATURES)
    assert augmentation().mask(features) is features
