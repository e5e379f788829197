"""A subset is listed once, until it changes, and its manifest is whole or absent."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datamodules.speech import corpus as speech_corpus
from sextant import atomic_folder
from sextant.errors import InputError
from tests.datamodules.speech.corpus.small_subset import (
    COUNT,
    RATE,
    expected,
    read,
    recordings,
    replace_a_recording,
    stored,
    table,
)
from tests.filesystem import listing, snapshot
from tests.processes import in_fork


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
