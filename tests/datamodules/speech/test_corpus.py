"""What a folder of recordings and transcripts holds is listed once and right, or its fault is named."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.sources.invalid_samples import NAMED
from datamodules.speech import corpus as speech_corpus
from datamodules.speech.corpus import Utterance, read_subset, read_transcripts
from sextant import atomic_folder
from sextant.errors import InputError
from tests.filesystem import cut_in_half, listing, snapshot
from tests.processes import in_fork

RATE = 16000
COUNT = 6  # utterances of dev-small


@pytest.fixture
def subset(librispeech: Path, tmp_path: Path) -> Path:
    """A copy of a small subset, to be damaged."""
    return shutil.copytree(librispeech / "dev-small", tmp_path / "dev-small")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of its own for each test."""
    return tmp_path / "cache"


def recordings(subset: Path) -> list[Path]:
    return sorted(subset.glob("*/*/*.flac"))


def table(subset: Path) -> Path:
    """The first file of transcripts."""
    return min(subset.glob("*/*/*.trans.txt"))


def read(subset: Path, cache: Path, *, skip: bool = False, rate: int = RATE, shortest: int = 512) -> list[Utterance]:
    return read_subset(subset, cache, rate, shortest, "skip" if skip else "error")


def expected(subset: Path) -> list[Utterance]:
    """What a subset holds, read as simply as can be."""
    said = dict(line.split(" ", 1) for file in subset.glob("*/*/*.trans.txt") for line in file.read_text().splitlines())
    return [
        Utterance(
            id=file.stem,
            path=str(file.relative_to(subset)),
            samples=soundfile.info(file).frames,
            transcript=said[file.stem],
            speaker=file.parent.parent.name,
        )
        for file in recordings(subset)
    ]


def stored(cache: Path) -> list[str]:
    """The manifests that are kept."""
    return [name for name in listing(cache) if "/" not in name and name.startswith("speech-")]


def write(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "1-1.trans.txt"
    file.write_bytes(content)
    return file


def transcripts(*files: Path) -> list[tuple[str, str]]:
    return [(name, words) for _, name, words in read_transcripts(list(files))]


# What is listed


def test_utterances_are_listed_by_path_with_length_transcript_and_speaker(librispeech: Path, cache: Path) -> None:
    for name, count in (("train-small", 14), ("dev-small", 6), ("test-small", 4)):
        found = read(librispeech / name, cache)
        assert len(found) == count
        assert found == expected(librispeech / name)


def test_manifest_has_a_line_of_json_for_each_utterance(subset: Path, cache: Path) -> None:
    read(subset, cache)
    (manifest,) = cache.glob("*/manifest.jsonl")
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line.keys() for line in lines] == [{"id", "path", "samples", "transcript", "speaker"}] * COUNT
    assert [Utterance(**line) for line in lines] == expected(subset)


def test_wav_files_and_upper_case_suffixes_are_recordings_too(subset: Path, cache: Path) -> None:
    for file, suffix in zip(recordings(subset), (".wav", ".WAV", ".FLAC"), strict=False):
        samples, rate = soundfile.read(file)
        file.unlink()
        soundfile.write(file.with_suffix(suffix), samples, rate, format=suffix[1:].upper())
    found = read(subset, cache)
    assert [Path(utterance.path).suffix for utterance in found[:3]] == [".wav", ".WAV", ".FLAC"]
    assert len(found) == COUNT


def test_other_files_beside_the_recordings_are_no_recordings(subset: Path, cache: Path) -> None:
    (subset / "README.TXT").write_text("\xe9", encoding="latin1")
    (recordings(subset)[0].parent / "notes.txt").write_text("no transcript")
    (recordings(subset)[0].parent / "cover.jpg").write_bytes(b"\xff\xd8")
    assert read(subset, cache) == expected(subset)


def test_nothing_is_written_beside_the_recordings(subset: Path, cache: Path) -> None:
    before = snapshot(subset)
    read(subset, cache)
    assert snapshot(subset) == before


@pytest.mark.parametrize("linked", ["the subset", "a recording"])
def test_links_to_recordings_are_followed(subset: Path, cache: Path, tmp_path: Path, linked: str) -> None:
    place = subset if linked == "the subset" else recordings(subset)[0]
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert read(subset, cache) == expected(subset)


def test_folder_of_a_speaker_may_be_a_link(subset: Path, cache: Path, tmp_path: Path) -> None:
    whole = expected(subset)
    speaker = recordings(subset)[0].parent.parent
    speaker.rename(tmp_path / "elsewhere")
    speaker.symlink_to(tmp_path / "elsewhere")
    assert read(subset, cache) == whole


def test_link_that_leads_back_is_an_input_error_and_no_endless_search(subset: Path, cache: Path) -> None:
    (subset / "loop").symlink_to(subset)
    with pytest.raises(InputError, match="same id"):
        read(subset, cache)


def test_folder_whose_name_is_not_utf8_is_read_like_any_other(subset: Path, cache: Path) -> None:
    speaker = recordings(subset)[0].parent.parent
    speaker.rename(speaker.parent / os.fsdecode(b"caf\xe9"))
    for _ in range(2):  # the second time from the manifest
        found = read(subset, cache)
        assert [subset / utterance.path for utterance in found] == recordings(subset)
        lengths = [soundfile.info(os.fsencode(file)).frames for file in recordings(subset)]
        assert [utterance.samples for utterance in found] == lengths
    empty(recordings(subset)[-1])
    with pytest.raises(InputError, match="1 of 6 recordings"):
        read(subset, cache)


# The manifest


def refuse(*args: object) -> None:
    raise AssertionError("a recording was decoded again")


def refuse_to_write(*args: object) -> None:
    """Stand in for a lock where nothing can be written, which root can everywhere else."""
    raise OSError(errno.EROFS, "Read-only file system")


def test_recordings_are_decoded_once(subset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(subset, cache)
    before = snapshot(cache)
    monkeypatch.setattr(speech_corpus, "read_audio", refuse)
    assert read(subset, cache) == first
    monkeypatch.chdir(subset.parent)
    assert read(Path(subset.name), Path(os.path.relpath(cache))) == first, "relative paths are the same folder"
    assert snapshot(cache) == before


def replace_a_recording(subset: Path) -> None:
    soundfile.write(recordings(subset)[2], np.zeros(9000), RATE)


def replace_a_recording_by_one_of_the_same_size(subset: Path) -> None:
    file = recordings(subset)[2]
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def correct_a_transcript(subset: Path) -> None:
    file = table(subset)
    status = file.stat()
    file.write_text(file.read_text().replace("A", "B").replace("E", "A"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def add_an_utterance(subset: Path) -> None:
    file = recordings(subset)[0]
    soundfile.write(file.with_name("new.flac"), np.zeros(9000), RATE)
    table(subset).write_text(table(subset).read_text() + "new NEW WORDS\n")


def remove_an_utterance(subset: Path) -> None:
    lines = table(subset).read_text().splitlines(keepends=True)
    table(subset).write_text("".join(lines[1:]))
    (table(subset).parent / f"{lines[0].split()[0]}.flac").unlink()


def rename_a_speaker(subset: Path) -> None:
    recordings(subset)[0].parent.parent.rename(subset / "renamed")


@pytest.mark.parametrize(
    "edit",
    [
        replace_a_recording,
        replace_a_recording_by_one_of_the_same_size,
        correct_a_transcript,
        add_an_utterance,
        remove_an_utterance,
        rename_a_speaker,
    ],
)
def test_manifest_is_written_anew_when_the_subset_changes_and_the_outdated_one_is_deleted(
    subset: Path, cache: Path, edit: Callable[[Path], None]
) -> None:
    read(subset, cache)
    (outdated,) = stored(cache)
    edit(subset)
    assert read(subset, cache) == expected(subset)
    (current,) = stored(cache)
    assert current != outdated


def test_outdated_manifest_of_a_subset_with_brackets_in_its_name_is_deleted(subset: Path, cache: Path) -> None:
    subset = subset.rename(subset.with_name("train[1]"))
    read(subset, cache)
    replace_a_recording(subset)
    read(subset, cache)
    assert len(stored(cache)) == 1


def test_subsets_of_the_same_name_in_other_places_keep_their_manifests(
    subset: Path, librispeech: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_a_recording(subset)
    places = (subset, librispeech / "dev-small", librispeech / "test-small")
    found = [read(place, cache) for place in places]
    assert found[0] != found[1]
    assert len(stored(cache)) == 3
    monkeypatch.setattr(speech_corpus, "read_audio", refuse)
    assert [read(place, cache) for place in places] == found


def test_other_requirements_are_checked_anew(subset: Path, cache: Path) -> None:
    read(subset, cache)
    with pytest.raises(InputError, match="6 of 6"):
        read(subset, cache, rate=8000)
    with pytest.raises(InputError, match="6 of 6"):
        read(subset, cache, shortest=100_000)
    assert len(read(subset, cache)) == COUNT


def test_several_processes_at_once_decode_each_recording_once(
    subset: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = speech_corpus.read_audio
    log = tmp_path / "decoded"

    def slow(file: Path) -> tuple[np.ndarray, int]:
        with log.open("a") as lines:
            lines.write(f"{file.name}\n")
        time.sleep(0.02)
        return decode(file)

    monkeypatch.setattr(speech_corpus, "read_audio", slow)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [context.Process(target=lambda: results.put(read(subset, cache))) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    assert found == [expected(subset)] * 3
    assert len(log.read_text().splitlines()) == COUNT
    assert len(stored(cache)) == 1


def test_killed_process_leaves_no_half_manifest(subset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = speech_corpus.read_audio
    with monkeypatch.context() as patch:
        last = recordings(subset)[-1]
        kill = lambda file: os.kill(os.getpid(), signal.SIGKILL) if file == last else decode(file)  # noqa: E731
        patch.setattr(speech_corpus, "read_audio", kill)
        code, _ = in_fork(lambda: read(subset, cache))
    assert code == -signal.SIGKILL
    assert stored(cache) == []
    assert read(subset, cache) == expected(subset)
    assert [name for name in listing(cache) if name.endswith(".part")] == []


def test_full_disk_is_an_input_error_that_leaves_nothing_behind_and_keeps_the_older_manifest(
    subset: Path, cache: Path
) -> None:
    read(subset, cache)
    before = listing(cache)
    replace_a_recording(subset)
    _, error = in_fork(lambda: read(subset, cache), largest_file=200)
    assert isinstance(error, InputError)
    assert str(cache) in str(error)
    assert "--data.cache" in str(error)
    assert listing(cache) == before
    assert read(subset, cache) == expected(subset)


def test_cache_that_cannot_be_made_is_an_input_error_that_names_the_setting(subset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the cache shall be")
    with pytest.raises(InputError, match=r"--data\.cache") as error:
        read(subset, tmp_path / "file")
    assert str(tmp_path / "file") in str(error.value)


def test_cache_that_may_only_be_read_serves_what_is_in_it_and_is_named_otherwise(
    subset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(subset, cache)
    monkeypatch.setattr(atomic_folder, "FileLock", refuse_to_write)
    assert read(subset, cache) == first
    replace_a_recording(subset)
    with pytest.raises(InputError, match=r"Read-only file system(?s:.*)--data\.cache"):
        read(subset, cache)


# Recordings that cannot be used


def empty(file: Path) -> None:
    file.write_bytes(b"")


def put_text(file: Path) -> None:
    file.write_text("a web page that says the file was not found")


def damage_the_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


def make_stereo(file: Path) -> None:
    soundfile.write(file, np.zeros((9000, 2)), RATE)


def make_telephone(file: Path) -> None:
    soundfile.write(file, np.zeros(9000), 8000)


def make_compact_disc(file: Path) -> None:
    soundfile.write(file, np.zeros(90000), 44100)


def make_short(file: Path) -> None:
    soundfile.write(file, np.zeros(511), RATE)


def link_to_nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("moved-away.flac")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (empty, "not recognised"),
        (put_text, "not recognised"),
        (cut_in_half, ""),
        (damage_the_middle, ""),
        (link_to_nowhere, ""),
        (make_stereo, "2 channels"),
        (make_telephone, "8,000 samples a second, not 16,000.*data.features.sample_rate"),
        (make_compact_disc, "44,100 samples a second, not 16,000.*data.features.sample_rate"),
        (make_short, "511 samples, and must have 512 at least"),
    ],
)
def test_recording_that_cannot_be_used_is_named_with_the_reason_and_can_be_left_out(
    subset: Path, cache: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    whole = expected(subset)
    spoilt = recordings(subset)[2]
    spoil(spoilt)
    for _ in range(2):  # the second time the manifest is there
        with pytest.raises(InputError, match=f"1 of 6 recordings cannot be used:\n.*{reason}") as error:
            read(subset, cache)
        (line,) = (line for line in str(error.value).splitlines() if str(spoilt) in line)
        assert line.removeprefix(f"  {spoilt}: ")
        assert "--data.invalid_samples=skip" in str(error.value)
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 6 recordings") as warned:
            found = read(subset, cache, skip=True)
        assert str(spoilt) in str(warned[0].message)
        assert found == [*whole[:2], *whole[3:]]


def test_recording_of_the_fewest_samples_is_listed(subset: Path, cache: Path) -> None:
    soundfile.write(recordings(subset)[0], np.zeros(512), RATE)
    assert read(subset, cache)[0].samples == 512


def test_recording_that_was_repaired_is_read_after_the_error(subset: Path, cache: Path) -> None:
    file = recordings(subset)[1]
    whole = file.read_bytes()
    cut_in_half(file)
    with pytest.raises(InputError, match="1 of 6"):
        read(subset, cache)
    file.write_bytes(whole)
    assert read(subset, cache) == expected(subset)


def test_many_unusable_recordings_are_counted_and_the_first_ones_named(librispeech: Path, tmp_path: Path) -> None:
    subset = shutil.copytree(librispeech / "train-small", tmp_path / "train-small")
    files = recordings(subset)
    for file in files[:-1]:
        empty(file)
    with pytest.raises(InputError, match="13 of 14 recordings") as error:
        read(subset, tmp_path / "cache")
    assert [str(file) in str(error.value) for file in files] == [True] * NAMED + [False] * (14 - NAMED)
    assert "and 3 more" in str(error.value)


def test_error_when_no_recording_can_be_used_even_if_they_may_be_left_out(subset: Path, cache: Path) -> None:
    for file in recordings(subset):
        make_stereo(file)
    with pytest.warns(UserWarning, match="6 of 6"), pytest.raises(InputError, match="none of its recordings") as error:
        read(subset, cache, skip=True)
    assert str(subset) in str(error.value)


# Folders and transcripts that do not fit


def test_missing_folder_is_named_with_ways_to_get_one_and_nothing_is_made(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="no such folder") as error:
        read(tmp_path / "train-clean-5", cache)
    assert str(tmp_path / "train-clean-5") in str(error.value)
    for setting in ("--data.root", "--data.download=true", "--data.synthetic=true"):
        assert setting in str(error.value)
    assert not cache.exists()


def test_folder_without_transcripts_is_named(subset: Path, cache: Path) -> None:
    for file in subset.glob("*/*/*.trans.txt"):
        file.unlink()
    with pytest.raises(InputError, match=r"no \*\.trans\.txt") as error:
        read(subset, cache)
    assert str(error.value).startswith(str(subset))


def test_transcript_without_a_recording_is_named_with_file_and_line(subset: Path, cache: Path) -> None:
    file = table(subset)
    name = file.read_text().splitlines()[1].split()[0]
    (file.parent / f"{name}.flac").unlink()
    with pytest.raises(InputError, match="no recording") as error:
        read(subset, cache)
    assert str(error.value).startswith(f"{file}:2: ")
    assert f"{name}.flac" in str(error.value)
    assert stored(cache) == []


def test_recording_without_a_transcript_is_named(subset: Path, cache: Path) -> None:
    file = table(subset)
    first, *others = file.read_text().splitlines(keepends=True)
    file.write_text("".join(others))
    name = first.split()[0]
    with pytest.raises(InputError, match=r"no \*\.trans\.txt has a transcript") as error:
        read(subset, cache)
    assert str(error.value).startswith(str(file.parent / f"{name}.flac"))
    assert stored(cache) == []


@pytest.mark.parametrize("other", ["{name}.wav", "../../9/9/{name}.flac"])
def test_two_recordings_of_the_same_id_are_both_named(subset: Path, cache: Path, other: str) -> None:
    first = recordings(subset)[0]
    second = Path(os.path.normpath(first.parent / other.format(name=first.stem)))
    second.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(second, np.zeros(9000), RATE)
    with pytest.raises(InputError, match="same id") as error:
        read(subset, cache)
    assert str(first) in str(error.value)
    assert str(second) in str(error.value)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_two_transcripts_of_the_same_id_are_both_named_with_their_lines(tmp_path: Path, elsewhere: bool) -> None:
    first = write(tmp_path / "1", b"a ONE\nb TWO\n" + b"a THREE\n" * (not elsewhere))
    second = write(tmp_path / "2", b"\na THREE\n") if elsewhere else first
    with pytest.raises(InputError, match="a has a transcript already") as error:
        transcripts(first, second)
    assert str(error.value).startswith(f"{second}:{2 if elsewhere else 3}: ")
    assert f"{first}:1" in str(error.value)


@pytest.mark.parametrize("blank", ["", " ", " \t ", "\r", " \u3000"])
def test_empty_transcript_is_named_with_file_and_line(tmp_path: Path, blank: str) -> None:
    file = write(tmp_path, f"a ONE\n\nb{blank}\nc THREE\n".encode())
    with pytest.raises(InputError, match="the transcript of b is empty") as error:
        transcripts(file)
    assert str(error.value).startswith(f"{file}:3: ")


def test_transcripts_that_are_not_utf8_are_named_with_file_and_offset(tmp_path: Path) -> None:
    file = write(tmp_path, b"a ONE\nb CAF\xc9\n")
    with pytest.raises(InputError, match=r"at byte 11 \(0xc9\)") as error:
        transcripts(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "  \n", "\t\n", "\n\n", "\n \t\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("gap", [" ", "\t", "  "])
def test_blanks_line_ends_and_a_byte_order_mark_do_not_count(
    tmp_path: Path, end: str, mark: bytes, closed: bool, gap: str
) -> None:
    lines = [gap.join(words) for words in (["1-1-0", "HELLO", "WORLD"], ["1-1-1", "\xc9T\xc9", "\u03a9"])]
    file = write(tmp_path, mark + (end.join(lines) + end * closed).encode())
    assert transcripts(file) == [("1-1-0", "HELLO WORLD"), ("1-1-1", "\xc9T\xc9 \u03a9")]


WORDS = st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1), min_size=2, max_size=4)


@settings(deadline=None, max_examples=60)
@given(lines=st.lists(WORDS, max_size=5, unique_by=lambda words: words[0]), gap=st.sampled_from([" ", "  ", "\t"]))
def test_every_transcript_that_can_be_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]], gap: str
) -> None:
    text = "".join(f"{gap.join(words)}\n" for words in lines)
    file = write(tmp_path_factory.getbasetemp() / "written", b"\xef\xbb\xbf" + text.encode())
    assert transcripts(file) == [(words[0], " ".join(words[1:])) for words in lines]
    assert [where for where, *_ in read_transcripts([file])] == [f"{file}:{k}" for k in range(1, len(lines) + 1)]
