"""Utterances in WebDataset tar shards, read one after the other."""

import glob
import itertools
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from braceexpand import braceexpand
from tqdm import tqdm
from webdataset.tariterators import group_by_keys

from datamodules.speech.audio_file import InvalidAudioError, describe, read_audio
from sextant.errors import InputError
from sextant.files.json_file import parse_json
from sextant.files.text_file import decode_text

COMMAND = "python -m datamodules.speech.write_shards"
WITH_LENGTH = {"FLAC", "WAV", "WAVEX"}  # formats whose headers say how long a recording is
NUMBERS = 10**9  # of examples in a shard, more than there can be
Part = tuple[tarfile.TarInfo, IO[bytes]]  # a file of an example: where it is, and its content
METADATA = re.compile(r"__[^/]*__($|/)")  # members that WebDataset leaves out


@dataclass(frozen=True)
class ShardedUtterance:
    """An utterance in a shard, known but not decoded.

    Args:
        index: its number: that of the shard, counted from 0, times ``NUMBERS``, plus that in the shard.
        shard: the tar file.
        name: of the audio in the tar file.
        start: where the audio is in the tar file, in bytes.
        size: of the audio, in bytes.
        samples: its length, from its header.
        transcript: the words, separated by single spaces.
    """

    index: int
    shard: Path
    name: str
    start: int
    size: int
    samples: int
    transcript: str

    def __str__(self) -> str:
        return f"{self.shard}: {self.name}"

    @property
    def id(self) -> str:
        """Its name in the corpus."""
        return self.name.rpartition("/")[2].partition(".")[0]

    def decode(self) -> np.ndarray:
        """Its audio, float32 (samples,) in [-1, 1].

        Raises:
            InputError: it is damaged.
        """
        try:
            with self.shard.open("rb") as file:
                file.seek(self.start)
                audio, _ = read_audio(BytesIO(file.read(self.size)))
            if audio.shape != (self.samples, 1):
                raise InvalidAudioError(f"the shard has changed: {len(audio):,} samples instead of {self.samples:,}")
        except (InvalidAudioError, OSError) as error:
            raise InputError(f"{self}: it cannot be decoded ({error}). Leave it out, or replace it.") from error
        return audio[:, 0]


class SpeechShards:
    """The utterances of shards, in an order that depends on the seed and the epoch alone.

    A shard is a tar file as WebDataset has it, without compression: the files of an example stand together and have the
    same name up to the first dot: ``<id>.flac`` or ``.wav``, and ``<id>.json`` with ``transcript`` or ``<id>.txt``. Its
    audio is read when it is decoded; before, what lies between the headers is skipped.

    Args:
        pattern: paths of shards, with braces as in ``train-{000000..000031}.tar`` and wildcards as in ``train-*.tar``.
        sample_rate: that the recordings must have, per second.
        shortest: the fewest samples that a recording must have.

    Raises:
        InputError: the pattern makes no sense, or names a shard that is not there.
    """

    def __init__(self, pattern: str, sample_rate: int, shortest: int) -> None:
        self.files = find_shards(pattern)
        self.sample_rate = sample_rate
        self.shortest = shortest

    def stream(self, seed: int, epoch: int) -> Iterator[ShardedUtterance]:
        """The utterances of an epoch; shards come in shuffled order.

        Raises:
            InputError: a shard is no whole tar file, or an example lacks something, is invalid.
        """
        for number in np.random.default_rng([seed, epoch, 5]).permutation(len(self.files)).tolist():
            yield from self._read(number)

    def transcripts(self) -> list[str]:
        """The transcripts of all utterances, in the order of the shards; reads all shards.

        Raises:
            InputError: as :meth:`stream`.
        """
        numbers = tqdm(range(len(self.files)), desc="Reading transcripts", unit="shard", delay=1)
        return [utterance.transcript for number in numbers for utterance in self._read(number)]

    def path(self, index: int) -> Path:
        """The file of an utterance, as if its shard were a folder."""
        number, place = divmod(index, NUMBERS)
        utterance = next(itertools.islice(self._read(number), place, None))
        return utterance.shard / utterance.name

    def _read(self, number: int) -> Iterator[ShardedUtterance]:
        shard = self.files[number]
        place = -1
        for place, parts in enumerate(group_by_keys(_members(shard), handler=partial(_refuse, shard))):
            where = f"{shard}: {parts['__key__']}"
            suffix = next((suffix for suffix in ("flac", "wav") if suffix in parts), None)
            if suffix is None:
                raise InputError(f"{where}: it has no recording: there is neither a .flac nor a .wav of that name.")
            member, content = parts[suffix]
            yield ShardedUtterance(
                NUMBERS * number + place,
                shard,
                member.name,
                member.offset_data,
                member.size,
                self._samples(f"{shard}: {member.name}", content),
                _transcript(where, parts),
            )
        if place < 0:
            raise InputError(f"{shard}: it holds no examples. Remove it, or write it again with {COMMAND}.")

    def _samples(self, where: str, content: IO[bytes]) -> int:
        """The length of a recording, from its header; decoding it shows whether that is right."""
        try:
            audio = describe(content)
        except InvalidAudioError as error:
            raise InputError(f"{where}: {error}. Leave it out, or replace it.") from error
        if audio.format not in WITH_LENGTH:
            raise InputError(f"{where}: only decoding shows the length of {audio.format}. Convert it to FLAC or WAV.")
        if audio.rate != self.sample_rate:
            raise InputError(
                f"{where}: it has {audio.rate:,} samples a second, not {self.sample_rate:,}. Convert it, or set "
                "data.features.sample_rate."
            )
        if audio.channels != 1:
            raise InputError(f"{where}: it has {audio.channels} channels, not one. Convert it.")
        if audio.samples is None:
            raise InputError(f"{where}: its header does not say how long it is. Encode it again, into a file.")
        if audio.samples < self.shortest:
            raise InputError(
                f"{where}: it has {audio.samples:,} samples, and must have {self.shortest:,} at least. Leave it out."
            )
        return audio.samples


def _refuse(shard: Path, error: Exception) -> NoReturn:
    name = str(error.args[0]).partition(": duplicate file name")[0]
    raise InputError(f"{shard}: there are two files {name}. Write it again with one of them.") from error


def find_shards(pattern: str) -> list[Path]:
    """The files that a pattern with braces and wildcards means, in order.

    Raises:
        InputError: the braces do not match, or there is no such file.
    """
    try:
        paths = list(braceexpand(pattern))
    except ValueError as error:
        raise InputError(f"data.subsets.shards is {pattern!r}; its braces do not match ({error}).") from error
    found: list[str] = []
    for path in paths:
        # pathlib takes no absolute patterns
        files = sorted(glob.glob(path)) if glob.has_magic(path) else [path]  # noqa: PTH207
        missing = path if not files else next((file for file in files if not Path(file).is_file()), None)
        if missing is not None:
            raise InputError(
                f"{missing}: there is no such shard (data.subsets.shards is {pattern!r}). Correct the path, or "
                f"write shards with {COMMAND}."
            )
        found += files
    return [Path(file) for file in dict.fromkeys(found)]


def _members(shard: Path) -> Iterator[dict[str, Any]]:
    """The files in a shard, as WebDataset puts them together, with their place and a file object instead of content.

    WebDataset's own reader, as Python's ``tarfile``, takes a missing end and a damaged header for the end of a shard.
    """
    advice = f"Get it again, or write it again with {COMMAND}."
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isreg() and not METADATA.match(member.name):
                    yield {"fname": member.name, "data": (member, tar.extractfile(member)), "__url__": str(shard)}
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise InputError(f"{shard}: it is truncated or damaged at byte {tar.offset:,}. {advice}")
            yield {}  # the last example is whole, and is to be read before the file is closed
    except tarfile.TarError as error:
        raise InputError(f"{shard}: it is truncated, or no tar file without compression ({error}). {advice}") from error
    except OSError as error:
        raise InputError(f"{shard}: it cannot be read ({error}). {advice}") from error


def _transcript(where: str, parts: Mapping[str, Part]) -> str:
    """The words of an example, separated by single spaces."""
    suffix = "json" if "json" in parts else "txt"
    if suffix not in parts:
        raise InputError(f"{where}: it has no transcript: there is neither a .json nor a .txt of that name beside it.")
    file = f"{where}.{suffix}"
    text = decode_text(parts[suffix][1].read(), file, Path(file).name)
    if suffix == "json":
        fields = parse_json(text, file)
        if not (isinstance(fields, dict) and isinstance(fields.get("transcript"), str)):
            raise InputError(f'{file}: it is no JSON object with a text "transcript". It begins with {text[:200]!r}.')
        text = fields["transcript"]
    words = text.split()
    if not words:
        raise InputError(f"{where}: its transcript is empty. Add the words that are said, or leave the example out.")
    return " ".join(words)
