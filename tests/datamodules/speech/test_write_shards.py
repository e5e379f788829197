"""Shards hold what a subset holds, or nothing is written and the reason is named."""

import itertools
import json
import runpy
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import soundfile
import webdataset

from datamodules.speech import write_shards
from datamodules.speech.write_shards import main
from sextant.errors import InputError
from tests.datamodules.speech.shard_files import COUNT, SHARDS, command, pattern, read, recordings, said
from tests.filesystem import cut_in_half, listing
from tests.processes import in_fork


def test_shards_hold_the_recordings_byte_by_byte_and_what_is_known_of_them(shards: Path, librispeech: Path) -> None:
    files = sorted(shards.iterdir())
    assert [file.name for file in files] == [f"train-small-00000{k}.tar" for k in range(SHARDS)]
    found = {}
    for file in files:
        with tarfile.open(file) as tar:
            names = tar.getnames()
            assert 4 <= len(names) // 2 <= 5  # divided evenly
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
    assert f"--data.subsets.shards='{tmp_path}/a/train-small-{{000000..000002}}.tar'" in out
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

    monkeypatch.setattr(write_shards, "TarWriter", Interrupted)
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
    monkeypatch.setattr(sys, "argv", ["write_shards", *command(librispeech, tmp_path)])
    with pytest.raises(SystemExit, match=rf"^\nerror: {tmp_path}: it exists\. .* with --output\.$"):
        runpy.run_module("datamodules.speech.write_shards", run_name="__main__")
    monkeypatch.setattr(sys, "argv", ["write_shards", *command(librispeech, tmp_path / "a")])

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(webdataset.TarWriter, "write", interrupt)
    with pytest.raises(SystemExit, match=r"^130$"):
        runpy.run_module("datamodules.speech.write_shards", run_name="__main__")
    assert capsys.readouterr().out == "\nInterrupted: no shards were written.\n"
    assert listing(tmp_path) == []
