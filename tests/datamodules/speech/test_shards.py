"""Shards give back what they hold, and whatever is wrong with one is named."""

import copy
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typing_extensions import override

from datamodules.speech.shards import SpeechShards, find_shards
from sextant.errors import InputError
from tests.datamodules.speech.shard_files import (
    FLAC,
    GOOD,
    RATE,
    STREAMED_FLAC,
    borders,
    pack,
    pattern,
    read,
    recording,
    recordings,
    said,
)

#: Its header says a few samples less than there are.
SHORT_FLAC = FLAC[:25] + bytes([FLAC[25] - 3]) + FLAC[26:]


def test_utterances_are_read_as_they_are_in_the_subset(shards: Path, librispeech: Path) -> None:
    utterances = read(pattern(shards))
    transcripts, files = said(librispeech), recordings(librispeech)
    assert sorted(utterance.id for utterance in utterances) == sorted(transcripts)
    for utterance in utterances:
        audio, _ = soundfile.read(files[utterance.id], dtype="float32")
        assert utterance.transcript == transcripts[utterance.id]
        assert utterance.samples == len(audio)
        np.testing.assert_array_equal(utterance.decode(), audio)


def test_order_of_shards_depends_on_the_seed_and_the_epoch_alone(shards: Path) -> None:
    found = SpeechShards(pattern(shards), RATE, 1024)
    orders = {
        (seed, epoch): [utterance.index for utterance in found.stream(seed, epoch)]
        for seed in range(3)
        for epoch in range(3)
    }
    assert [utterance.index for utterance in found.stream(2, 1)] == orders[2, 1]
    assert len({tuple(order) for order in orders.values()}) > 3
    assert {tuple(sorted(order)) for order in orders.values()} == {tuple(sorted(orders[0, 0]))}


def test_number_of_an_utterance_leads_to_its_file(shards: Path) -> None:
    found = SpeechShards(pattern(shards), RATE, 1024)
    for utterance in found.stream(0, 0):
        assert found.path(utterance.index) == utterance.shard / f"{utterance.id}.flac"


@pytest.mark.parametrize(
    "wanted",
    [
        "{}/train-small-{{000000..000002}}.tar",
        "{}/*.tar",
        "{}/train-small-00000{{0,1,2}}.tar",
        "{}/*[0-1].tar {}/*2.tar",
    ],
)
def test_shards_are_named_by_braces_and_wildcards(shards: Path, wanted: str) -> None:
    places = wanted.replace("{}", str(shards)).replace("{{", "{").replace("}}", "}")
    files = [file for place in places.split(" ") for file in find_shards(place)]
    assert files == sorted(shards.iterdir())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            "{000000..000003}.tar",
            r"train-small-000003\.tar: there is no such shard \(data\.subsets\.shards is '.*'\)",
        ),
        ("x*.tar", r"train-small-x\*\.tar: there is no such shard"),
        ("{000000..000001.tar", r"its braces do not match"),
    ],
)
def test_shard_that_is_not_there_is_named(shards: Path, wanted: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_shards(f"{shards}/train-small-{wanted}")


CUTS: dict[str, Callable[[list[tuple[int, int, int]]], int]] = {
    "empty": lambda files: 0,
    "one byte": lambda files: 1,
    "first header": lambda files: 300,
    "after the first header": lambda files: files[0][1],
    "first recording": lambda files: files[0][1] + 1000,
    "between the files of an example": lambda files: files[1][0],
    "between examples": lambda files: files[4][0],
    "header between examples": lambda files: files[4][0] + 100,
    "after a header": lambda files: files[4][1],
    "recording": lambda files: files[4][1] + 1000,
    "last transcript": lambda files: files[-1][2] - 5,
    "after the last transcript": lambda files: files[-1][2],
    "before the end": lambda files: -(-files[-1][2] // 512) * 512,
    "first block of the end": lambda files: -(-files[-1][2] // 512) * 512 + 511,
}


@pytest.mark.parametrize("where", CUTS)
def test_shard_that_is_truncated_is_one_message_that_names_it(shards: Path, tmp_path: Path, where: str) -> None:
    shard = Path(shutil.copy(shards / "train-small-000001.tar", tmp_path))
    os.truncate(shard, CUTS[where](borders(shard)))
    with pytest.raises(
        InputError, match=rf"^{shard}: it is truncated.* Get it again, or write it again with python"
    ) as e:
        read(shard)
    assert "\n" not in str(e.value)


def test_shard_is_whole_without_the_zeros_that_fill_it_up(shards: Path, tmp_path: Path) -> None:
    shard = Path(shutil.copy(shards / "train-small-000001.tar", tmp_path))
    whole = [utterance.id for utterance in read(shard)]
    os.truncate(shard, -(-borders(shard)[-1][2] // 512) * 512 + 512)
    assert [utterance.id for utterance in read(shard)] == whole


def test_damaged_header_is_not_taken_for_the_end(shards: Path, tmp_path: Path) -> None:
    shard = Path(shutil.copy(shards / "train-small-000001.tar", tmp_path))
    content = bytearray(shard.read_bytes())
    header = borders(shard)[4][0]
    for place in (0, 100, 124, 148, 156, 257):  # name, mode, size, checksum, kind, format
        damaged = copy.copy(content)
        damaged[header + place] ^= 0x55
        shard.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"^{shard}: it is truncated or damaged at byte {header:,}\."):
            read(shard)


@pytest.mark.parametrize("content", [b"no tar", b"\x1f\x8b" + bytes(2000), b"x" * 20_000])
def test_what_is_no_tar_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(
        InputError, match=rf"^{tmp_path}/a\.tar: it is truncated, or no tar file without compression \("
    ):
        read(tmp_path / "a.tar")


def test_shard_without_examples_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.tar: it holds no examples"):
        read(pack(tmp_path / "a.tar", []))


def test_folder_in_the_place_of_a_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^{tmp_path}: there is no such shard"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"b.json": b"{}"}, r"b: it has no recording: there is neither a \.flac nor a \.wav"),
        ({"b.mp3": FLAC, "b.txt": b"YES"}, r"b: it has no recording"),
        ({"b.flac": FLAC}, r"b: it has no transcript: there is neither a \.json nor a \.txt"),
        ({"b.flac": FLAC, "c.txt": b"YES"}, r"b: it has no transcript"),
        ({"b.flac": FLAC, "b.txt": b" \n"}, r"b: its transcript is empty"),
        ({"b.flac": FLAC, "b.json": b'{"transcript": " "}'}, r"b: its transcript is empty"),
        ({"b.flac": FLAC, "b.json": b'{"text": "YES"}'}, r"b\.json: it is no JSON object with a text \"transcript\""),
        ({"b.flac": FLAC, "b.json": b'{"transcript": 5}'}, r"b\.json: it is no JSON object with a text \"transcript\""),
        ({"b.flac": FLAC, "b.json": b'["YES"]'}, r"b\.json: it is no JSON object"),
        ({"b.flac": FLAC, "b.json": b"{"}, r"b\.json: no JSON"),
        ({"b.flac": FLAC, "b.json": b"[" * 5000}, r"b\.json: the JSON is nested too deep"),
        ({"b.flac": FLAC, "b.txt": "YES".encode("utf-16")}, r"b\.txt: it is text in UTF-16"),
        ({"b.flac": FLAC, "b.txt": b"YES\nCAF\xc9"}, r"b\.txt:2: not UTF-8 at byte 7 \(0xc9\)"),
        ({"b.flac": b"", "b.txt": b"YES"}, r"b\.flac: it is no recording \("),
        ({"b.flac": FLAC[:30], "b.txt": b"YES"}, r"b\.flac: it is no recording \("),
        ({"b.flac": b"x" * 3000, "b.txt": b"YES"}, r"b\.flac: it is no recording \(Format not recognised"),
        ({"b.flac": recording(rate=8000), "b.txt": b"YES"}, r"b\.flac: it has 8,000 samples a second, not 16,000"),
        ({"b.flac": recording(channels=2), "b.txt": b"YES"}, r"b\.flac: it has 2 channels, not one"),
        ({"b.flac": recording(0.06), "b.txt": b"YES"}, r"b\.flac: it has 960 samples, and must have 1,024 at least"),
        ({"b.flac": STREAMED_FLAC, "b.txt": b"YES"}, r"b\.flac: its header does not say how long it is"),
        ({"b.wav": recording(kind="WAV")[:3000], "b.txt": b"YES"}, r"b\.wav: it is truncated: 2,956 of 6,400 bytes"),
        (
            {"b.wav": recording(kind="WAV") + FLAC, "b.txt": b"YES"},
            r"b\.wav: what begins at byte 6,444 does not belong",
        ),
        (
            {"b.wav": recording(kind="OGG"), "b.txt": b"YES"},
            r"b\.wav: only decoding shows the length of OGG\. Convert it",
        ),
        ({"b.flac": FLAC, "b.FLAC": FLAC, "b.txt": b"YES"}, r"there are two files b\.FLAC"),
    ],
)
def test_example_that_lacks_something_is_named_with_its_shard(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    shard = pack(tmp_path / "x.tar", [*GOOD.items(), *members.items()])
    with pytest.raises(InputError, match=rf"^{shard}: {message}") as raised:
        read(shard)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [FLAC[:3000], FLAC + FLAC, SHORT_FLAC, FLAC[:2000] + bytes(2000) + FLAC[4000:]])
def test_damage_behind_the_header_is_found_where_the_recording_is_decoded(tmp_path: Path, content: bytes) -> None:
    (utterance,) = read(pack(tmp_path / "x.tar", [("a.flac", content), ("a.txt", b"YES")]))
    with pytest.raises(InputError, match=rf"^{tmp_path}/x\.tar: a\.flac: it cannot be decoded \("):
        utterance.decode()


def test_shard_that_was_written_again_in_the_meantime_is_named(tmp_path: Path) -> None:
    shard = pack(tmp_path / "x.tar", [("a.wav", recording(0.3, kind="WAV")), ("a.txt", b"YES")])
    (utterance,) = read(shard)
    pack(shard, [("a.wav", recording(0.2, kind="WAV") + bytes(9000)), ("a.txt", b"YES")])
    with pytest.raises(InputError, match=r"a\.wav: .* \(the shard has changed: 3,200 samples instead of 4,800\)"):
        utterance.decode()


def test_samples_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.array([0.0] * 2000 + [np.nan]), RATE, format="WAV", subtype="FLOAT")
    (utterance,) = read(pack(tmp_path / "x.tar", [("a.wav", file.getvalue()), ("a.txt", b"YES")]))
    with pytest.raises(InputError, match=r"a\.wav: it cannot be decoded \(it has samples that are not finite\)"):
        utterance.decode()


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_shards_of_other_tools_are_read(tmp_path: Path, tar_format: int) -> None:
    """Folders, long names, capital suffixes, other files, metadata, and lengths that only the recordings know."""
    far = "folder/" * 20
    wav = recording(0.3, kind="WAV")
    members = [
        ("__about__/shard.txt", b"YES"),
        ("__index__", b"0 1 2"),
        ("./b-1.FLAC", FLAC),
        ("./b-1.txt", "\u00c9T\u00c9  ET\nHIVER\n".encode()),
        ("./b-1.speaker.id", b"7"),
        ("README", b"no suffix"),
        (f"{far}c.wav", wav),
        (f"{far}c.json", json.dumps({"transcript": "NO", "samples": 1}).encode()),
    ]
    utterances = read(pack(tmp_path / "x.tar", members, tar_format))
    assert [(u.id, u.transcript, u.samples) for u in utterances] == [
        ("b-1", "\u00c9T\u00c9 ET HIVER", 3200),
        ("c", "NO", 4800),
    ]
    np.testing.assert_array_equal(utterances[1].decode(), soundfile.read(io.BytesIO(wav), dtype="float32")[0])


def test_only_headers_are_read_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = pack(tmp_path / "x.tar", [("a.flac", recording(60)), ("a.txt", b"YES")])
    taken = 0

    class Counting(io.FileIO):
        @override
        def readinto(self, buffer: Any) -> int | None:
            nonlocal taken
            taken += len(buffer)
            return super().readinto(buffer)

    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *mode: io.BufferedReader(Counting(path)) if path == shard else opened(path, *mode)
    )
    (utterance,) = read(shard)
    assert 0 < taken < 100_000
    assert utterance.size > 1_000_000
