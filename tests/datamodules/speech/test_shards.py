"""Shards hold what a subset holds and give it back, whatever is wrong with one is named, and runs train on them."""

import copy
import io
import itertools
import json
import os
import runpy
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import webdataset
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
from typing_extensions import override

from datamodules.librispeech import LibriSpeech
from datamodules.speech import shards as speech_shards
from datamodules.speech.shards import SpeechShards, find_shards, main
from sextant.errors import InputError
from sextant.resume.partial_epoch import PartialEpoch
from tests.datamodules.faults import cut_in_half, in_fork, listing
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.recording import read_batches
from train import main as train

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "conformer_librispeech.yaml"
RATE = 16000
COUNT = 14  # utterances of train-small
SHARDS = 3
Members = dict[str, bytes]


def said(root: Path) -> dict[str, str]:
    """Transcripts of the training utterances, read as simply as can be."""
    tables = sorted((root / "train-small").glob("*/*/*.trans.txt"))
    return dict(line.split(" ", 1) for table in tables for line in table.read_text().splitlines())


def recordings(root: Path) -> dict[str, Path]:
    return {file.stem: file for file in (root / "train-small").glob("*/*/*.flac")}


def command(root: Path, output: Path, *more: str) -> list[str]:
    return [f"--root={root}", "--subset=train-small", f"--output={output}", f"--shards={SHARDS}", *more]


@pytest.fixture(scope="module")
def shards(librispeech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three shards of the small training subset."""
    output = tmp_path_factory.mktemp("shards") / "small"
    main(command(librispeech, output))
    return output


def pattern(shards: Path) -> str:
    return f"{shards}/train-small-{{000000..00000{SHARDS - 1}}}.tar"


def read(place: Path | str, shortest: int = 1024, epoch: int = 0, seed: int = 0) -> list[Any]:
    return list(SpeechShards(str(place), RATE, shortest).stream(seed, epoch))


# What is written


def test_shards_hold_the_recordings_byte_by_byte_and_what_is_known_of_them(shards: Path, librispeech: Path) -> None:
    files = sorted(shards.iterdir())
    assert [file.name for file in files] == [f"train-small-00000{k}.tar" for k in range(SHARDS)]
    found = {}
    for file in files:
        with tarfile.open(file) as tar:
            names = tar.getnames()
            assert 4 <= len(names) // 2 <= 5  # shared out evenly
            for name in names:
                content = tar.extractfile(name)
                assert content is not None
                found[name] = content.read()
    transcripts = said(librispeech)
    assert sorted(found) == sorted(f"{name}.{suffix}" for name in transcripts for suffix in ("flac", "json"))
    for name, file in recordings(librispeech).items():
        assert found[f"{name}.flac"] == file.read_bytes()
        assert json.loads(found[f"{name}.json"]) == {
            "transcript": transcripts[name],
            "speaker": file.parent.parent.name,
            "samples": soundfile.info(file).frames,
        }


def test_webdataset_itself_reads_the_shards(shards: Path, librispeech: Path) -> None:
    urls = [str(file) for file in sorted(shards.iterdir())]
    examples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert sorted(example["__key__"] for example in examples) == sorted(said(librispeech))
    assert {name for example in examples for name in example if name[:2] != "__"} == {"flac", "json"}


def test_examples_are_shuffled_over_the_shards_the_same_way_each_time(
    shards: Path, librispeech: Path, tmp_path: Path
) -> None:
    main(command(librispeech, tmp_path / "again"))
    for file in shards.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    names = [utterance.id for file in sorted(shards.iterdir()) for utterance in read(file)]
    assert names != sorted(names)
    assert len({name[0] for name in names[:5]}) > 1  # speakers


def test_command_says_how_to_train_on_what_it_wrote(
    librispeech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(command(librispeech, tmp_path / "a"))
    out = capsys.readouterr().out
    assert f"--data.shards='{tmp_path}/a/train-small-{{000000..000002}}.tar'" in out
    assert len(read(out.split("'")[1])) == COUNT


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--subset=train-smal"], r"train-smal: there is no such folder\. Check --root and --subset"),
        (["--shards=15"], "--shards is 15; with 14 utterances it must be 1"),
        (["--shards=0"], "--shards is 0"),
        (["--sample_rate=8000"], "14 of 14 recordings cannot be used"),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_nothing(
    librispeech: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        main(command(librispeech, tmp_path / "a", *more))
    assert listing(tmp_path) == []


def test_what_exists_is_not_touched(librispeech: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept.tar").write_text("mine")
    with pytest.raises(InputError, match=r"/a: it exists\. Remove it, or give another folder with --output"):
        main(command(librispeech, tmp_path / "a"))
    assert listing(tmp_path) == ["a", "a/kept.tar"]


def test_damaged_recording_stops_the_command_or_is_left_out(librispeech: Path, tmp_path: Path) -> None:
    root = shutil.copytree(librispeech, tmp_path / "LibriSpeech")
    damaged = recordings(root)["1-1-0002"]
    cut_in_half(damaged)
    with pytest.raises(InputError, match=rf"{damaged}: .*\n.*leave them out with --invalid_samples=skip"):
        main(command(root, tmp_path / "a"))
    with pytest.warns(UserWarning, match="1 of 14 recordings"):
        main(command(root, tmp_path / "a", "--invalid_samples=skip"))
    assert {utterance.id for utterance in read(pattern(tmp_path / "a"))} == said(librispeech).keys() - {"1-1-0002"}


def test_id_with_a_dot_is_refused(librispeech: Path, tmp_path: Path) -> None:
    root = shutil.copytree(librispeech, tmp_path / "LibriSpeech")
    file = recordings(root)["1-1-0002"]
    file.rename(file.with_name("1-1.0002.flac"))
    table = next(file.parent.glob("*.trans.txt"))
    table.write_text(table.read_text().replace("1-1-0002", "1-1.0002"))
    with pytest.raises(InputError, match=r"1-1\.0002\.flac: its name has a dot"):
        main(command(root, tmp_path / "a"))


def test_shards_appear_when_all_are_whole(librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = itertools.count()

    class Interrupted(webdataset.TarWriter):
        def write(self, example: dict[str, Any]) -> int:
            assert not (tmp_path / "a").exists()
            if next(written) == 8:  # in the second shard
                assert len(list(tmp_path.rglob("*.tar"))) == 2
                raise KeyboardInterrupt
            return super().write(example)

    monkeypatch.setattr(speech_shards, "TarWriter", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(command(librispeech, tmp_path / "a"))
    assert listing(tmp_path) == []


def test_full_disk_is_one_message_and_leaves_nothing(librispeech: Path, tmp_path: Path) -> None:
    _, raised = in_fork(lambda: main(command(librispeech, tmp_path / "a")), largest_file=60_000)
    assert isinstance(raised, InputError)
    assert str(raised).startswith(f"{tmp_path}/a: the shards could not be written (")
    assert listing(tmp_path) == []


def test_command_ends_with_one_line_and_no_traceback(
    librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["speech_shards", *command(librispeech, tmp_path)])
    with pytest.raises(SystemExit, match=rf"^\nerror: {tmp_path}: it exists\. .* with --output\.$"):
        runpy.run_module("datamodules.speech.shards", run_name="__main__")
    monkeypatch.setattr(sys, "argv", ["speech_shards", *command(librispeech, tmp_path / "a")])

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(webdataset.TarWriter, "write", interrupt)
    with pytest.raises(SystemExit, match=r"^130$"):
        runpy.run_module("datamodules.speech.shards", run_name="__main__")
    assert capsys.readouterr().out == "\nInterrupted: no shards were written.\n"
    assert listing(tmp_path) == []


# What is read


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
        ("{000000..000003}.tar", r"train-small-000003\.tar: there is no such shard \(data\.shards is '.*'\)\. Correct"),
        ("x*.tar", r"train-small-x\*\.tar: there is no such shard"),
        ("{000000..000001.tar", r"its braces do not match"),
    ],
)
def test_shard_that_is_not_there_is_named(shards: Path, wanted: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_shards(f"{shards}/train-small-{wanted}")


def recording(seconds: float = 0.2, rate: int = RATE, channels: int = 1, kind: str = "FLAC") -> bytes:
    file = io.BytesIO()
    audio = np.random.default_rng(0).normal(0, 0.1, (round(seconds * rate), channels))
    soundfile.write(file, audio, rate, format=kind, subtype="PCM_16")
    return file.getvalue()


FLAC = recording()
#: An encoder that writes to a pipe leaves the number of samples, 36 bits of the first block, at 0.
STREAMED_FLAC = FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:]
GOOD = {"a.flac": FLAC, "a.json": b'{"transcript": "YES"}'}


def pack(shard: Path, members: list[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(shard, "w", format=tar_format) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return shard


def borders(shard: Path) -> list[tuple[int, int, int]]:
    """Where the header, the content and the end of each file in a shard are."""
    with tarfile.open(shard) as tar:
        return [(member.offset, member.offset_data, member.offset_data + member.size) for member in tar]


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
def test_shard_that_is_cut_off_is_one_message_that_names_it(shards: Path, tmp_path: Path, where: str) -> None:
    shard = Path(shutil.copy(shards / "train-small-000001.tar", tmp_path))
    os.truncate(shard, CUTS[where](borders(shard)))
    with pytest.raises(
        InputError, match=rf"^{shard}: it is cut off.* Get it again, or write it again with python"
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
        with pytest.raises(InputError, match=rf"^{shard}: it is cut off or damaged at byte {header:,}\."):
            read(shard)


@pytest.mark.parametrize("content", [b"no tar", b"\x1f\x8b" + bytes(2000), b"x" * 20_000])
def test_what_is_no_tar_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match=rf"^{tmp_path}/a\.tar: it is cut off, or no tar file without compression \("):
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
        ({"b.flac": FLAC, "b.json": b'{"text": "YES"}'}, r"b: its \.json is no JSON with a text \"transcript\""),
        ({"b.flac": FLAC, "b.json": b'{"transcript": 5}'}, r"b: its \.json is no JSON with a text \"transcript\""),
        ({"b.flac": FLAC, "b.json": b'["YES"]'}, r"b: its \.json is no JSON"),
        ({"b.flac": FLAC, "b.json": b"{"}, r"b: its \.json is no JSON"),
        ({"b.flac": FLAC, "b.txt": b"\xff\xfe"}, r"b: its \.txt is no UTF-8 text"),
        ({"b.flac": b"", "b.txt": b"YES"}, r"b\.flac: it is no recording \("),
        ({"b.flac": FLAC[:30], "b.txt": b"YES"}, r"b\.flac: it is no recording \("),
        ({"b.flac": b"x" * 3000, "b.txt": b"YES"}, r"b\.flac: it is no recording \(Format not recognised"),
        ({"b.flac": recording(rate=8000), "b.txt": b"YES"}, r"b\.flac: it has 8,000 samples a second, not 16,000"),
        ({"b.flac": recording(channels=2), "b.txt": b"YES"}, r"b\.flac: it has 2 channels, not one"),
        ({"b.flac": recording(0.06), "b.txt": b"YES"}, r"b\.flac: it has 960 samples, and must have 1,024 at least"),
        ({"b.flac": STREAMED_FLAC, "b.txt": b"YES"}, r"b\.flac: its header does not say how long it is"),
        ({"b.wav": recording(kind="WAV")[:3000], "b.txt": b"YES"}, r"b\.wav: it is cut off: 2,956 of 6,400 bytes"),
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


@pytest.mark.parametrize("content", [FLAC[:3000], FLAC[:2000] + bytes(2000) + FLAC[4000:]])
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


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.array([0.0] * 2000 + [np.nan]), RATE, format="WAV", subtype="FLOAT")
    (utterance,) = read(pack(tmp_path / "x.tar", [("a.wav", file.getvalue()), ("a.txt", b"YES")]))
    with pytest.raises(InputError, match=r"a\.wav: it cannot be decoded \(it has samples that are no numbers\)"):
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


# What is trained on


@pytest.fixture(scope="module")
def make(shards: Path, librispeech: Path, cache: Path) -> Callable[..., LibriSpeech]:
    """Make the DataModule on the small shards, with other settings where they are given."""
    given: dict[str, Any] = {
        "root": str(librispeech),
        "cache": str(cache),
        "val": ["dev-small"],
        "shards": pattern(shards),
        "shard_buffer": 8,
        "num_features": 16,
        "max_batch_length": 6.0,
        "seed": 3,
    }
    return lambda **options: LibriSpeech(**given | options)


@pytest.fixture(scope="module")
def prepared(make: Callable[..., LibriSpeech]) -> Callable[..., LibriSpeech]:
    """The same, ready for its training loader."""

    def prepare(position: dict[str, Any] | None = None, **options: Any) -> LibriSpeech:
        data = make(**options)
        if position is not None:
            data.load_state_dict(position)
        data.setup("fit")
        return data

    return prepare


def indices(data: LibriSpeech) -> list[list[int]]:
    loader = data.train_dataloader()
    try:
        return [batch["index"].tolist() for batch in loader]
    finally:
        if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
            loader._iterator._shutdown_workers()  # the garbage collector takes ten seconds for it after an error


def test_batches_hold_each_utterance_once_with_audio_and_labels(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    data = prepared()
    with pytest.raises(TypeError):
        len(data.train_dataloader())
    batches = list(data.train_dataloader())
    transcripts, files = said(librispeech), recordings(librispeech)
    assert sorted(name for batch in batches for name in batch["id"]) == sorted(transcripts)
    for batch in batches:
        audio, lengths = batch["audio"]
        labels, label_lengths = batch["labels"]
        assert audio.numel() / RATE / data.slowest <= 6.0
        for i, name in enumerate(batch["id"]):
            expected, _ = soundfile.read(files[name], dtype="float32")
            np.testing.assert_array_equal(audio[i, : lengths[i]].numpy(), expected)
            assert not audio[i, lengths[i] :].any()
            spelt = "".join(data.vocabulary[label] for label in labels[i, : label_lengths[i]].tolist())
            assert spelt.replace("\u2581", " ") == batch["text"][i] == transcripts[name]
    assert len(data.val_dataloader()) >= 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_begins_at_the_position_that_was_loaded(prepared: Callable[..., LibriSpeech], num_workers: int) -> None:
    whole = {epoch: indices(prepared({"epoch": epoch, "done": []})) for epoch in (2, 3)}
    assert len(whole[2]) >= 3
    assert whole[2] != whole[3]
    data = prepared({"epoch": 2, "done": [[1, 1]]}, num_workers=num_workers)
    loader: Any = data.train_dataloader()
    assert [batch["index"].tolist() for batch in loader] == whole[2][1:]
    loader.sampler.set_epoch(3)  # as Lightning does, also where workers stay
    assert [batch["index"].tolist() for batch in loader] == whole[3]


def test_shares_of_two_ranks_are_equally_long_and_hold_each_utterance_once(
    prepared: Callable[..., LibriSpeech],
) -> None:
    data = prepared(max_batch_length=4.0)
    everything = sorted(itertools.chain(*indices(data)))
    assert len(everything) == COUNT
    shares = []
    for rank in (0, 1):
        data.trainer = on_rank(rank, 2)
        shares.append(indices(data))
    assert len(shares[0]) == len(shares[1]) > 1
    assert sorted(itertools.chain(*shares[0], *shares[1])) == everything
    # A step of two ranks is done; one goes on.
    kept = [*shares[0][0], *shares[1][0]]
    alone = prepared({"epoch": 0, "done": [[1, 2]]}, max_batch_length=4.0)
    assert sorted(kept + list(itertools.chain(*indices(alone)))) == everything


def on_rank(rank: int, world_size: int) -> Any:
    """A Trainer, as far as a loader asks it."""
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy)


def test_pieces_of_words_come_from_the_transcripts_in_the_shards(
    prepared: Callable[..., LibriSpeech], tmp_path: Path
) -> None:
    data = prepared(pieces=40, cache=str(tmp_path), train=["nowhere"])
    assert len(data.vocabulary) == 41
    assert sorted(itertools.chain(*indices(data))) == sorted(itertools.chain(*indices(prepared())))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shard_buffer": 0}, r"data\.shard_buffer is 0; it must be 1 or more"),
        ({"buckets": 3}, r"data\.buckets is 3; it does not go with data\.shards"),
        ({"buckets": [3.0]}, r"data\.buckets is \[3\.0\]; it does not go with data\.shards"),
        ({"batch_ordering": "ascending"}, r"data\.batch_ordering is ascending; it does not go with data\.shards"),
    ],
)
def test_settings_that_do_not_go_with_shards_are_refused(
    make: Callable[..., LibriSpeech], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(**settings)


def test_wrong_settings_of_batches_are_named(prepared: Callable[..., LibriSpeech]) -> None:
    with pytest.raises(InputError, match=r"max_batch_ex is 0; .*\(Settings of data, in seconds at the slowest of"):
        prepared(max_batch_ex=0).train_dataloader()
    with pytest.raises(InputError, match=r"\.flac: [\d.]+ long, longer than the budget of 0\.3"):
        indices(prepared(max_batch_length=0.3))
    with pytest.raises(InputError, match=r"lengths of utterances in shards .* take BatchLengthFinder out"):
        _ = prepared().batch_length_range


@pytest.mark.parametrize("num_workers", [0, 2])
def test_fault_in_a_shard_is_the_same_message_from_a_worker(
    prepared: Callable[..., LibriSpeech], shards: Path, tmp_path: Path, num_workers: int
) -> None:
    folder = shutil.copytree(shards, tmp_path / "shards")
    shard = folder / "train-small-000001.tar"
    os.truncate(shard, borders(shard)[4][0])
    with pytest.raises(
        InputError, match=rf"^{shard}: it is cut off or damaged at byte [\d,]+\. Get it again"
    ) as raised:
        indices(prepared(shards=pattern(folder), num_workers=num_workers))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_transcript_that_cannot_be_spelt_is_named(
    prepared: Callable[..., LibriSpeech], tmp_path: Path, num_workers: int
) -> None:
    shard = pack(tmp_path / "x.tar", [*GOOD.items(), ("b.flac", FLAC), ("b.txt", b"NO 7")])
    with pytest.raises(InputError, match=rf"^{shard}: b\.flac: its transcript has '7', which is not in the vocabulary"):
        indices(prepared(shards=str(shard), num_workers=num_workers))


class EpochRecorder(Recorder):
    """Keeps the epoch of each step beside its samples, and that of each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, list[int]]] = []
        self.validated: list[int] = []

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.seen.append((self.trainer.current_epoch, batch["index"].tolist()))
        return super().training_step(batch, batch_idx)

    @override
    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.validated.append(self.trainer.current_epoch)


#: A run, the folder of its checkpoints, and how its Trainer was made.
Whole = tuple[EpochRecorder, Path, dict[str, Any]]


class EveryCheckpoint(Callback):
    """Save where the project's own callbacks do: within an epoch, after a validation, at the end of an epoch.

    Args:
        folder: where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            trainer.save_checkpoint(self.folder / f"step-{trainer.global_step}.ckpt")

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"validation-{trainer.global_step}.ckpt")

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"epoch-{trainer.global_step}.ckpt")


def fit(data: LibriSpeech, folder: Path, checkpoint: Path | None = None, **options: Any) -> EpochRecorder:
    recorder = EpochRecorder()
    callbacks = [PartialEpoch(), *([] if checkpoint else [EveryCheckpoint(folder)])]
    trainer = bare_trainer(folder, callbacks=callbacks, **options)
    trainer.fit(recorder, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return recorder


@pytest.fixture(
    scope="module", params=[{"max_epochs": 3}, {"max_epochs": 100, "max_steps": 11}], ids=["epochs", "steps"]
)
def whole(
    request: pytest.FixtureRequest, make: Callable[..., LibriSpeech], tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    """An undisturbed run, its checkpoints, and how long it was to be."""
    folder = tmp_path_factory.mktemp("whole")
    return fit(make(), folder, **request.param), folder, request.param


def test_every_epoch_has_each_utterance_once_in_an_order_of_its_own(
    whole: Whole,
) -> None:
    recorder, _, _ = whole
    epochs = [[batch for of, batch in recorder.seen if of == epoch] for epoch in range(2)]
    for epoch in epochs:
        assert len({index for batch in epoch for index in batch}) == sum(map(len, epoch)) == COUNT
    assert epochs[0] != epochs[1]
    assert recorder.validated[:2] == [0, 1]


def test_position_after_each_batch_says_what_is_left_to_train_on(
    whole: Whole,
) -> None:
    recorder, folder, _ = whole
    for epoch in range(2):
        positions = [
            position for position, (of, _) in zip(recorder.positions, recorder.seen, strict=True) if of == epoch
        ]
        begun = [{"epoch": epoch, "done": [[steps, 1]]} for steps in range(1, len(positions))]
        assert positions == [*begun, {"epoch": epoch + 1, "done": []}]
    for checkpoint in folder.glob("*.ckpt"):
        kind, step = checkpoint.stem.split("-")
        saved = torch.load(checkpoint, weights_only=True)["LibriSpeech"]
        if kind != "epoch" or int(step) < len(recorder.seen):  # with max_steps the run may end within an epoch
            assert saved == recorder.positions[int(step) - 1], checkpoint


@pytest.mark.parametrize("num_workers", [0, 2])
def test_run_that_is_gone_on_with_anywhere_is_the_undisturbed_one(
    whole: Whole,
    make: Callable[..., LibriSpeech],
    num_workers: int,
    tmp_path: Path,
) -> None:
    recorder, folder, options = whole
    checkpoints = sorted(folder.glob("*.ckpt"))
    assert {file.name.split("-")[0] for file in checkpoints} == {"step", "validation", "epoch"}
    if num_workers:  # one of each kind
        checkpoints = [next(file for file in checkpoints if file.name.startswith(kind)) for kind in ("e", "s", "v")]
    for checkpoint in checkpoints:
        kind, step = checkpoint.stem.split("-")
        rest = fit(make(num_workers=num_workers), tmp_path, checkpoint, **options)
        assert rest.seen == recorder.seen[int(step) :], checkpoint
        epoch, _ = recorder.seen[int(step) - 1]
        validations_done = epoch + (kind != "step")
        assert rest.validated == recorder.validated[validations_done:], checkpoint
        assert rest.positions == recorder.positions[int(step) :], checkpoint


# Commands


@pytest.fixture(scope="module")
def run(
    shards: Path, small_data: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """Run commands in one folder, one after the other, as a user does."""
    words = [f"--config={CONFIG}", *small_data["LibriSpeech"], f"--data.shards={pattern(shards)}"]
    words += ["--data.train=[nowhere]", "--data.num_workers=0", "--trainer.log_every_n_steps=2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        patch.setattr(sys, "argv", ["train.py"])
        yield lambda command, *more: train([command, *words, *more])


def test_schedule_over_the_run_needs_a_number_of_steps(run: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"WarmupCosine, which spans the run, .* Give --trainer\.max_steps"):
        run("fit")


def test_command_trains_validates_and_goes_on(run: Callable[..., Any], shards: Path) -> None:
    """Two epochs, and then two more, of which the schedule knows."""
    record = ("--trainer.callbacks+=tests.recording.RecordBatches", "--trainer.callbacks.folder=.")
    folder = Path(run("fit", "--trainer.max_steps=12", "--trainer.max_epochs=2", *record).trainer.log_dir)
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["LibriSpeech"] == {"epoch": 2, "done": []}
    cli = run(
        *("fit", "--trainer.max_steps=12", "--trainer.max_epochs=4", *record),
        *("--ckpt_path=last", "--settings_from=command"),
    )
    batches = read_batches(Path(), 0)
    train_epochs, val_epochs = (
        [
            [index for of, number, batch in batches if (of, number) == (split, epoch) for index in batch]
            for epoch in range(2)
        ]
        for split in ("train", "val")
    )
    everything = sorted(utterance.index for utterance in read(pattern(shards)))
    assert [sorted(epoch) for epoch in train_epochs] == [everything, everything]
    assert train_epochs[0] != train_epochs[1]
    assert [sorted(epoch) for epoch in val_epochs] == [list(range(6))] * 2
    assert cli.trainer.global_step == 12
    assert cli.model.lr_schedulers().total_steps == 12
    assert [split for split, _, _ in batches].count("train") == 12


def test_loss_that_is_no_number_names_the_files_in_the_shards(run: Callable[..., Any], shards: Path) -> None:
    with pytest.raises(InputError, match=r"The loss is nan at step \d") as raised:
        run("fit", "--trainer.max_steps=12", "--model.optimizer.lr=1e30", "--trainer.max_epochs=3")
    named = str(raised.value).split("The batch:\n  ")[1].split("\n  ")
    assert all(name.startswith(f"{shards}/train-small-00000") and name.endswith(".flac") for name in named)
