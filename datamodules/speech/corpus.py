"""Utterances with transcripts in LibriSpeech's layout, listed once."""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from datamodules.sources.invalid_samples import report_invalid_samples
from datamodules.sources.near_root import near_root
from datamodules.speech.audio_file import InvalidAudioError, read_audio
from datamodules.speech.folder import files_under
from datamodules.speech.formats.suffixes import is_audio
from sextant.atomic_folder import fingerprint, make_current
from sextant.errors import InputError
from sextant.files.text_file import sized_lines

FORMAT = 3  # of the manifest; another number makes it anew
TEXT: Any = {"encoding": "utf-8", "errors": "surrogateescape"}  # paths need not be UTF-8


@dataclass(frozen=True)
class Utterance:
    """A recording and what was said.

    Args:
        id: its name in the corpus.
        path: the audio file, relative to the subset's folder.
        samples: its length.
        transcript: the words, separated by single spaces.
        speaker: who speaks.
    """

    id: str
    path: str
    samples: int
    transcript: str
    speaker: str


def read_subset(
    folder: Path, cache: Path, sample_rate: int, shortest: int, invalid_samples: Literal["error", "skip"]
) -> list[Utterance]:
    """List the utterances of a subset such as ``train-clean-5``.

    The layout is ``<speaker>/<chapter>/<id>.flac`` (or of another format) with a file ``*.trans.txt`` in each chapter's
    folder, one ``<id> <transcript>`` a line. Each recording is decoded once, in parallel, so that its length is known
    whatever its header says, and a damaged one is found before training and not in its middle. The list is kept as
    ``manifest.jsonl`` in ``cache`` until the subset changes.

    Args:
        folder: of the subset.
        cache: where manifests are kept.
        sample_rate: that the recordings must have, per second.
        shortest: the fewest samples that a recording must have.
        invalid_samples: what to do about recordings that are damaged, too short or of another format: stop
            (``error``), or leave them out with a warning (``skip``).

    Returns:
        The utterances by their paths.

    Raises:
        InputError: there is no such folder, a transcript or a recording lacks the other, a transcript is empty, or a
            recording is invalid.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: there is no such folder.{near_root(folder.parent, folder.name)} Check --data.root and the "
            "names of the subsets, download the published ones with --data.download=true, or try the program on "
            "generated recordings with --data.synthetic=true."
        )
    audio, tables = list_files(folder)
    if not tables:
        raise InputError(f"{folder}: no *.trans.txt was found under it, so it is not a folder in LibriSpeech's layout.")
    state = fingerprint([*audio.values(), *tables], str(folder), f"{FORMAT} {sample_rate} {shortest}")
    place = hashlib.sha256(os.fsencode(os.path.abspath(folder))).hexdigest()[:8]
    make = partial(_write_manifest, folder, audio, tables, sample_rate, shortest)
    try:
        made = make_current(cache / f"speech-{folder.name}-{place}", state, make)
    except OSError as error:
        raise InputError(
            f"{cache}: the manifest of {folder} could not be written ({error}). Free some space, or choose another "
            "place with --data.cache."
        ) from error
    found: dict[str, str] = json.loads((made / "invalid.json").read_text(**TEXT))
    with (made / "manifest.jsonl").open(**TEXT) as lines:
        utterances = [Utterance(**json.loads(line)) for line in lines]
    reasons = {folder / path: reason for path, reason in found.items()}
    report_invalid_samples(reasons, len(reasons) + len(utterances), "recordings", invalid_samples)
    if not utterances:
        raise InputError(f"{folder}: none of its recordings can be used.")
    return utterances


def list_files(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The audio files of a subset by id, and its transcript files, both in the order of their paths.

    Raises:
        InputError: two audio files have the same id, or a folder cannot be read.
    """
    audio: dict[str, Path] = {}
    tables = []
    for path in files_under(folder):
        if path.name.endswith(".trans.txt"):
            tables.append(path)
        elif is_audio(path):
            if path.stem in audio:
                raise InputError(f"{path}: another recording has the same id: {audio[path.stem]}. Remove one of them.")
            audio[path.stem] = path
    return audio, tables


def read_transcripts(tables: list[Path]) -> Iterator[tuple[str, str, str]]:
    """The lines of transcript files.

    Yields:
        Where a line is (file and number), an utterance's id, and its transcript.

    Raises:
        InputError: a transcript is empty, or an id comes twice.
    """
    seen: dict[str, str] = {}
    for table in tables:
        for number, (line, _) in enumerate(sized_lines(table), 1):
            where = f"{table}:{number}"
            words = line.split()
            if not words:
                continue
            name, transcript = words[0], " ".join(words[1:])
            if not transcript:
                raise InputError(
                    f"{where}: the transcript of {name} is empty. Add the words that are said, or remove the line and "
                    "the recording."
                )
            if name in seen:
                raise InputError(f"{where}: {name} has a transcript already, at {seen[name]}. Remove one of them.")
            seen[name] = where
            yield where, name, transcript


def _write_manifest(
    folder: Path, audio: dict[str, Path], tables: list[Path], sample_rate: int, shortest: int, made: Path
) -> Path:
    transcripts: dict[str, str] = {}
    for where, name, transcript in read_transcripts(tables):
        if name not in audio:
            raise InputError(
                f"{where}: there is no recording {name}.flac, or of another suffix, under {folder}. Add it, or remove "
                "the line."
            )
        transcripts[name] = transcript
    for name, path in audio.items():
        if name not in transcripts:
            raise InputError(
                f"{path}: no *.trans.txt has a transcript of it. Add a line '{name} ...' to the one beside it, or "
                "remove the recording."
            )
    measure = partial(_measure, sample_rate, shortest)
    reasons: dict[str, str] = {}
    with ThreadPoolExecutor() as pool, (made / "manifest.jsonl").open("w", **TEXT) as manifest:
        measured = zip(audio.items(), pool.map(measure, audio.values()), strict=True)
        bar = tqdm(measured, desc=f"Checking {folder.name}", total=len(audio), unit="recording", delay=1)
        for (name, path), found in bar:
            place = path.relative_to(folder)
            if isinstance(found, str):
                reasons[str(place)] = found
                continue
            utterance = Utterance(name, str(place), found, transcripts[name], place.parts[0])
            manifest.write(json.dumps(asdict(utterance), ensure_ascii=False) + "\n")
    (made / "invalid.json").write_text(json.dumps(reasons, ensure_ascii=False), **TEXT)
    return made


def _measure(sample_rate: int, shortest: int, file: Path) -> int | str:
    """The length of a recording in samples, or why it cannot be used."""
    try:
        samples, rate = read_audio(file)
    except InvalidAudioError as error:
        return str(error)
    if rate != sample_rate:
        return f"it has {rate:,} samples a second, not {sample_rate:,}: convert it, or set data.features.sample_rate"
    if samples.shape[1] != 1:
        return f"it has {samples.shape[1]} channels, not one: convert it"
    if len(samples) < shortest:
        return f"it has {len(samples):,} samples, and must have {shortest:,} at least"
    return len(samples)
