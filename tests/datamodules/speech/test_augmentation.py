"""Speeds and masks that are drawn keep to what is said."""

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.speech.augmentation import Augmentation, SpeechAugmentation
from datamodules.speech.log_mel import LogMel

RATE = 16000
WINDOW, HOP = 512, 160
FEATURES = 20


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lengths_of(*samples: int) -> Tensor:
    return torch.tensor(samples)


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel(RATE, FEATURES)


def augmentation(sample_rate: int = RATE, **options: Any) -> SpeechAugmentation:
    """One that does nothing but what is asked for."""
    nothing: dict[str, Any] = {
        "speeds": (),
        "time_masks": 0,
        "time_mask_width": 10,
        "time_mask_fraction": 1.0,
        "feature_masks": 0,
        "feature_mask_width": 5,
    }
    return SpeechAugmentation(sample_rate, Augmentation(**nothing | options))


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


@pytest.mark.parametrize(("frames", "fraction"), [(200, 0.05), (50, 0.5), (30, 0.02)])
def test_mask_over_time_takes_no_more_than_its_fraction(frames: int, fraction: float) -> None:
    torch.manual_seed(0)
    masks = augmentation(time_masks=1, time_mask_width=100, time_mask_fraction=fraction)
    masked = masks.mask(torch.ones(300, frames, FEATURES)) == 0
    assert masked.all(2).sum(1).max() <= fraction * frames


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
