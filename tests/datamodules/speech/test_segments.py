"""Recordings of any kind and length are cut where they are quiet, and nothing of them is lost or heard twice."""

import errno
import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamodules.speech.audio_file import read_audio
from datamodules.speech.segments import Segment, Segments, list_audio, segments
from sextant.errors import InputError
from tests.filesystem import cut_in_half

RATE = 16000
SHORTEST = 512 / RATE  # seconds


def tone(seconds: float, rate: int = RATE, frequency: float = 440) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def speech(seed: int, seconds: float, rate: int = RATE) -> np.ndarray:
    """Noise that comes and goes every second or so."""
    generator = np.random.default_rng(seed)
    loudness = np.repeat(generator.uniform(0, 0.3, math.ceil(seconds * 4)), round(rate / 4))[: round(seconds * rate)]
    return loudness * generator.uniform(-1, 1, len(loudness))


def write(folder: Path, samples: np.ndarray, rate: int = RATE, name: str = "talk.wav", **options: Any) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, samples, rate, **options)
    return file


def cut(*files: Path, longest: float, shortest: float = SHORTEST) -> list[Segment]:
    return segments(files, longest, shortest)


def assert_tiles(parts: list[Segment], file: Path, longest: float, shortest: float = SHORTEST) -> None:
    """Segments cover a file from its start to its end, without gap or overlap, and have allowed lengths."""
    info = soundfile.info(os.fsencode(file))
    assert {(part.file, part.rate) for part in parts} == {(file, info.samplerate)}
    edges = [0, *(part.stop for part in parts)]
    assert [(part.start, part.stop) for part in parts] == list(itertools.pairwise(edges))
    assert edges[-1] == info.frames
    for part in parts:
        assert shortest * part.rate <= part.stop - part.start <= longest * part.rate + 0.5


# Which files


def test_file_is_taken_whatever_its_name_and_folders_are_searched_for_audio(tmp_path: Path) -> None:
    names = ["b/2.flac", "a.WAV", "b/1.mp3", "c/d/3.ogg", "c/4.Opus", "5.aiff", "6.au", "7.caf", "8.W64", "d/9.snd"]
    names += ["c/10.m4a", "c/11.webm", "12.aac", "13.WMA", "14.mp4", "15.oga", "16.sph"]  # read or not
    for name in [*names, "b/notes.txt", "b/1.trans.txt", "wav", "c/README"]:
        file = tmp_path / "talks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    (tmp_path / "talks" / "folder.wav").mkdir()
    assert list_audio(tmp_path / "talks") == sorted(tmp_path / "talks" / name for name in names)
    assert list_audio(tmp_path / "talks" / "b" / "notes.txt") == [tmp_path / "talks" / "b" / "notes.txt"]


def test_missing_place_and_folder_without_audio_are_named_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    for name, reason in (("missing", "no such file or folder"), ("empty", r"no audio file.*\.flac")):
        with pytest.raises(InputError, match=reason) as error:
            list_audio(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: ")
        assert "data.prediction.audio" in str(error.value)


def test_link_that_leads_back_is_named(tmp_path: Path) -> None:
    write(tmp_path, tone(1))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "loop").symlink_to(tmp_path)
    with pytest.raises(InputError, match="links to a folder that it lies in") as error:
        list_audio(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/more/loop: ")


def test_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, tone(1))
    closed = tmp_path / "closed"
    closed.mkdir()
    scan = os.scandir

    def refuse(path: Any) -> Any:  # as for a user who is not root
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(closed))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"the folder cannot be read \(Permission denied\)") as error:
        list_audio(tmp_path)
    assert str(error.value).startswith(f"{closed}: ")


# Where files are cut


@pytest.mark.parametrize("samples", [512, 8000, 3 * RATE - 1, 3 * RATE])
def test_file_that_is_short_enough_is_one_segment(tmp_path: Path, samples: int) -> None:
    file = write(tmp_path, speech(0, 3)[:samples])
    assert cut(file, longest=3) == [Segment(file, 0, samples, RATE)]


@settings(deadline=None, max_examples=80)
@given(
    seconds=st.floats(0.2, 12),
    longest=st.floats(1, 5),
    shortest=st.sampled_from([SHORTEST, 0.2]),
    rate=st.sampled_from([1000, 1999, 2000, 8000]),
    seed=st.integers(0, 100),
)
@example(seconds=1.001, longest=1.0, shortest=0.2, rate=1000, seed=0)
@example(seconds=2.001, longest=2.0, shortest=SHORTEST, rate=1999, seed=0)
def test_segments_cover_a_file_once_and_are_neither_too_long_nor_too_short(
    tmp_path_factory: pytest.TempPathFactory, seconds: float, longest: float, shortest: float, rate: int, seed: int
) -> None:
    samples = speech(seed, seconds + 1, rate)[: math.ceil(seconds * rate)]
    file = write(tmp_path_factory.getbasetemp(), samples, rate, "drawn.wav")
    assert_tiles(cut(file, longest=longest, shortest=shortest), file, longest, shortest)


def test_file_a_little_too_long_is_not_cut_so_late_that_nothing_is_left(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(4.02 * RATE))
    samples[round(3.8 * RATE) :] = 0  # quietest at the end
    file = write(tmp_path, samples)
    assert_tiles(cut(file, longest=4, shortest=0.2), file, 4, 0.2)


@pytest.mark.parametrize("quiet", [0.0, 0.02])
def test_long_file_is_cut_in_its_pauses(tmp_path: Path, quiet: float) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE)
    pauses = [(3.4, 3.8), (7.0, 7.2), (10.5, 11.0), (14.2, 14.5), (17.6, 18.0)]
    for start, stop in pauses:
        samples[round(start * RATE) : round(stop * RATE)] *= quiet
    parts = cut(write(tmp_path, samples), longest=4)
    cuts = [part.stop / RATE for part in parts[:-1]]
    assert len(cuts) == 5
    for place, (start, stop) in zip(cuts, pauses, strict=True):
        assert start <= place <= stop


def test_pause_in_one_channel_alone_is_no_pause(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (6 * RATE, 2))
    samples[round(3.0 * RATE) : round(3.4 * RATE), 0] = 0
    samples[round(3.5 * RATE) : round(3.8 * RATE)] = 0
    first, _ = cut(write(tmp_path, samples), longest=4)
    assert 3.5 <= first.stop / RATE <= 3.8


def test_file_without_pauses_is_cut_in_the_last_third(tmp_path: Path) -> None:
    file = write(tmp_path, tone(30))
    parts = cut(file, longest=5)
    assert_tiles(parts, file, 5)
    assert all(part.stop - part.start >= 5 * RATE * 2 / 3 for part in parts[:-1])
    assert len(parts) <= 9


def test_silent_file_is_cut_too(tmp_path: Path) -> None:
    file = write(tmp_path, np.zeros(9 * RATE))
    assert_tiles(cut(file, longest=2), file, 2)


def test_segments_of_several_files_stand_in_the_order_of_the_files(tmp_path: Path) -> None:
    files = [write(tmp_path, speech(k, 1 + 3 * k), 8000, f"{k}.wav") for k in (2, 0, 1)]
    parts = cut(*files, longest=2)
    assert [file for file, _ in itertools.groupby(part.file for part in parts)] == files
    for file in files:
        assert_tiles([part for part in parts if part.file == file], file, 2)


def test_length_of_segments_without_a_limit_is_the_files(tmp_path: Path) -> None:
    file = write(tmp_path, speech(0, 3))
    assert cut(file, longest=1e9) == [Segment(file, 0, 3 * RATE, RATE)]


# Files that cannot be used


def test_files_that_cannot_be_used_are_all_named_with_their_reasons(tmp_path: Path) -> None:
    whole = write(tmp_path, speech(0, 1), name="whole.wav")
    short = write(tmp_path, np.zeros(511), name="short.wav")
    fast = write(tmp_path, np.zeros(1411), 44100, "fast.wav")  # 32 ms are 1411.2 samples
    damaged = write(tmp_path, speech(0, 9), name="damaged.flac")
    cut_in_half(damaged)
    text = tmp_path / "text.mp3"
    text.write_text("no audio")
    empty = tmp_path / "empty.flac"
    empty.touch()
    files = [whole, short, fast, damaged, text, empty]
    with pytest.raises(InputError, match="5 of 6 files cannot be used") as error:
        cut(*files, longest=2)
    lines = str(error.value).splitlines()
    assert [sum(line.startswith(f"  {file}: ") for line in lines) for file in files] == [0, 1, 1, 1, 1, 1]
    assert "511 samples" in next(line for line in lines if str(short) in line)
    assert str(error.value).count(str(tmp_path)) == 5


@pytest.mark.parametrize("suffix", ["m4a", "webm", "AAC", "wma", "mp4", "amr"])
def test_file_of_a_format_that_is_not_read_is_to_be_converted(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"talk.{suffix}"
    file.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    with pytest.raises(
        InputError, match=f"1 of 1 files(?s:.*): {suffix.lower()} is no format .* convert it to FLAC or WAV"
    ):
        cut(file, longest=2)


def test_format_that_is_read_is_read_under_any_name(tmp_path: Path) -> None:
    for name in ("talk.m4a", "talk.mp3", "talk"):
        file = write(tmp_path, tone(1), name=name, format="WAV")
        assert cut(file, longest=2) == [Segment(file, 0, RATE, RATE)]


def test_files_that_cannot_be_used_are_left_out_and_named_where_that_is_allowed(tmp_path: Path) -> None:
    whole = write(tmp_path, speech(0, 1), name="whole.wav")
    damaged = write(tmp_path, speech(0, 9), name="damaged.flac")
    cut_in_half(damaged)
    foreign = tmp_path / "talk.m4a"
    foreign.write_bytes(bytes(100))
    with pytest.warns(UserWarning, match="2 of 3 files cannot be used") as warned:
        parts = segments([damaged, whole, foreign], 2, SHORTEST, "skip")
    assert parts == [Segment(whole, 0, RATE, RATE)]
    assert str(damaged) in str(warned[0].message)
    assert str(foreign) in str(warned[0].message)
    with pytest.warns(UserWarning, match="2 of 2"), pytest.raises(InputError, match="None of the files"):
        segments([damaged, foreign], 2, SHORTEST, "skip")


def test_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "talk.wav")
    with pytest.raises(InputError, match=r"talk\.wav: it is no file"):
        cut(tmp_path / "talk.wav", longest=2)


@pytest.mark.parametrize("longest", [2, 100])
@pytest.mark.parametrize("fraction", [0.4, 0.8, 0.99])
def test_flac_that_breaks_off_is_named_wherever_its_cuts_are(tmp_path: Path, longest: float, fraction: float) -> None:
    file = write(tmp_path, speech(0, 9), name="damaged.flac")
    content = file.read_bytes()
    file.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(InputError, match="1 of 1 files") as error:
        cut(file, longest=longest)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_shortest_file_at_any_rate_has_the_samples_of_a_frame(tmp_path: Path, rate: int) -> None:
    file = write(tmp_path, speech(0, 1, rate)[: math.ceil(SHORTEST * rate)], rate)
    assert Segments(cut(file, longest=2), RATE)[[0]]["audio"].lengths >= 512


# What is read


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("talk.wav", {"subtype": "PCM_24"}),
        ("talk.wav", {"subtype": "FLOAT"}),
        ("talk.flac", {}),
        ("talk.mp3", {}),
        ("talk.ogg", {}),
    ],
)
def test_tone_stays_at_its_pitch_and_length_at_any_rate(
    tmp_path: Path, name: str, options: dict[str, Any], rate: int
) -> None:
    file = write(tmp_path, tone(2, rate), rate, name, **options)
    data = Segments(cut(file, longest=30), RATE)
    audio = data[[0]]["audio"].data[0]
    assert audio.dtype == torch.float32
    assert len(audio) == 2 * RATE
    spectrum = torch.fft.rfft(audio * torch.hann_window(len(audio))).abs()
    assert float(spectrum.argmax()) / 2 == pytest.approx(440, abs=0.5)
    assert audio[4000:-4000].abs().max() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("rate", [7999, 16001, 22254, 44099, 767_999])
def test_rate_that_has_no_divisor_in_common_is_converted_too(tmp_path: Path, rate: int) -> None:
    file = write(tmp_path, tone(2, rate), rate)
    audio = Segments(cut(file, longest=30), RATE)[[0]]["audio"].data[0]
    assert len(audio) == pytest.approx(2 * RATE, abs=5)
    spectrum = torch.fft.rfft(audio[: 2 * RATE - 5] * torch.hann_window(2 * RATE - 5)).abs()
    assert float(spectrum.argmax()) / 2 == pytest.approx(440, abs=0.5)


def test_channels_are_mixed_into_one(tmp_path: Path) -> None:
    left, right = tone(1, frequency=300), tone(1, frequency=900)
    file = write(tmp_path, np.stack([left, right], 1), subtype="FLOAT")
    audio = Segments(cut(file, longest=30), RATE)[[0]]["audio"].data[0]
    np.testing.assert_allclose(audio, (left + right) / 2, atol=1e-6)


def test_batch_has_audio_places_and_numbers(tmp_path: Path) -> None:
    long = write(tmp_path, speech(0, 5, 8000), 8000, "long.flac")
    short = write(tmp_path, speech(1, 0.7), RATE, "short.flac")
    parts = cut(long, short, longest=2)
    data = Segments(parts, RATE)
    assert len(data) == len(parts) >= 4
    np.testing.assert_allclose(data.seconds(), [(part.stop - part.start) / part.rate for part in parts])
    assert data.seconds().sum() == pytest.approx(5.7)
    order = [len(parts) - 1, 1, 0]
    batch = data[order]
    assert batch.keys() == {"audio", "start", "end", "index"}
    audio, lengths = batch["audio"]
    assert audio.dtype == torch.float32
    assert audio.shape == (3, max(lengths))
    assert lengths.tolist() == [math.ceil(data.seconds()[k] * RATE) for k in order]
    for row, length in zip(audio, lengths, strict=True):
        assert (row[length:] == 0).all()
    assert batch["index"].dtype == torch.int64
    assert batch["index"].tolist() == order
    for name, edge in (("start", "start"), ("end", "stop")):
        assert batch[name].dtype == torch.float64
        assert batch[name].tolist() == [getattr(parts[k], edge) / parts[k].rate for k in order]
    np.testing.assert_array_equal(audio[0, : lengths[0]], read_audio(short)[0][:, 0])


@pytest.mark.parametrize("name", ["talk.flac", "talk.wav"])
def test_segments_put_together_are_the_file(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, speech(3, 11), name=name)
    data = Segments(cut(file, longest=2), RATE)
    whole = np.concatenate([data[[k]]["audio"].data[0] for k in range(len(data))])
    np.testing.assert_array_equal(whole, read_audio(file)[0][:, 0])


@pytest.mark.parametrize(("name", "options"), [("talk.mp3", {}), ("talk.ogg", {}), ("talk.ogg", {"subtype": "OPUS"})])
def test_segments_of_a_compressed_file_are_its_sound_in_time(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    file = write(tmp_path, speech(3, 20), name=name, **options)
    parts = cut(file, longest=4)
    assert_tiles(parts, file, 4)
    assert len(parts) > 4
    data = Segments(parts, RATE)
    joined = np.concatenate([data[[k]]["audio"].data[0] for k in range(len(data))])
    whole = read_audio(file)[0][:, 0]
    assert np.corrcoef(joined, whole)[0, 1] > 0.95, "decoders are a little off where they begin to read, no more"


def test_segments_of_streams_one_after_the_other_cover_them_all(tmp_path: Path) -> None:
    for name in ("talk.mp3", "talk.ogg"):
        files = [write(tmp_path, speech(k, 3 + k), name=f"{k}{name}") for k in range(3)]
        chain = tmp_path / name
        chain.write_bytes(b"".join(file.read_bytes() for file in files))
        parts = cut(chain, longest=5)
        data = Segments(parts, RATE)
        assert data.seconds().sum() == 12
        joined = np.concatenate([data[[k]]["audio"].data[0] for k in range(len(data))])
        apart = np.concatenate([read_audio(file)[0][:, 0] for file in files])
        np.testing.assert_allclose(joined, apart, atol=0.01)


def test_file_whose_name_is_not_utf8_is_read_like_any_other(tmp_path: Path) -> None:
    file = write(tmp_path, speech(0, 3))
    odd = file.rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    (found,) = list_audio(tmp_path)
    assert found == odd
    assert_tiles(cut(found, longest=2), odd, 2)


def shorten(file: Path) -> None:
    soundfile.write(file, speech(0, 1), RATE)


@pytest.mark.parametrize("change", [shorten, cut_in_half, os.remove])
def test_file_that_changed_after_it_was_listed_is_named(tmp_path: Path, change: Any) -> None:
    file = write(tmp_path, speech(0, 5), name="talk.flac")
    data = Segments(cut(file, longest=2), RATE)
    change(file)
    with pytest.raises(InputError, match="has changed since it was listed") as error:
        data[[len(data) - 1]]
    assert str(error.value).startswith(f"{file}: ")
