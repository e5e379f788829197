"""Tokenizers of transcripts: into characters, or into subwords."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import sentencepiece

from sextant.atomic_folder import make_folder
from sextant.errors import InputError

BLANK = "<blank>"  # label 0, CTC's own
BOUNDARY = "\u2581"  # stands for a space, as in SentencePiece
ALPHABET = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # LibriSpeech's
MODEL = "subwords.model"  # SentencePiece's file in the cache


class Tokenizer(Protocol):
    """What makes label ids of transcripts."""

    #: The labels, by their ids.
    vocabulary: list[str]

    def encode(self, transcript: str) -> list[int]:
        """The label ids of a transcript.

        Raises:
            KeyError: with a part of the transcript that is not in the vocabulary.
        """


@dataclass(frozen=True)
class Tokenization:
    """The labels that transcripts are made of.

    Args:
        alphabet: the characters of the transcripts, each of which is a label.
        subwords: the number of subwords that are the labels instead of characters, found in the training transcripts;
            0 for characters.
    """

    alphabet: str = ALPHABET
    subwords: int = 0

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            InputError: there are fewer subwords than none.
        """
        if self.subwords < 0:
            raise InputError(f"data.tokenizer.subwords is {self.subwords}; it must be 0 (characters) or more.")

    def tokenizer(self, transcripts: Sequence[str], cache: Path) -> Tokenizer:
        """Make the tokenizer.

        Args:
            transcripts: of the training split, in which subwords are found.
            cache: where subwords are kept.
        """
        if self.subwords:
            return SubwordTokenizer(transcripts, self.subwords, cache, self.alphabet)
        return CharacterTokenizer(self.alphabet)


class CharacterTokenizer:
    """One label for each character.

    Args:
        alphabet: the characters, the space among them.

    Raises:
        InputError: the alphabet is empty, or has a character twice.
    """

    def __init__(self, alphabet: str = ALPHABET) -> None:
        if not alphabet or len(set(alphabet)) < len(alphabet):
            raise InputError(f"data.tokenizer.alphabet is {alphabet!r}; it must list each character once.")
        self.vocabulary = [BLANK, *alphabet.replace(" ", BOUNDARY)]
        self._ids = {character: number for number, character in enumerate(alphabet, 1)}

    def encode(self, transcript: str) -> list[int]:
        """The label ids of a transcript.

        Raises:
            KeyError: with a character that has no label.
        """
        return [self._ids[character] for character in transcript]


class SubwordTokenizer:
    """Subwords that SentencePiece's unigram model finds in the training transcripts.

    Kudo 2018, https://arxiv.org/abs/1804.10959. The model is trained once for the same transcripts, on one thread, so
    that it is the same everywhere.

    Args:
        transcripts: of the training split.
        size: the number of subwords, every character of the transcripts and of the alphabet among them.
        cache: where the model is kept.
        alphabet: characters that are subwords even where no training transcript has them.

    Raises:
        InputError: the transcripts do not give so many subwords, or the model cannot be written.
    """

    def __init__(self, transcripts: Sequence[str], size: int, cache: Path, alphabet: str = "") -> None:
        digest = hashlib.sha256("\n".join([alphabet, *transcripts]).encode()).hexdigest()[:16]
        folder = cache / f"subwords-{size}-{digest}"
        try:
            if not folder.exists():  # a cache that may only be read will do
                make_folder(folder, partial(_train, transcripts, size, alphabet))
        except OSError as error:
            raise InputError(
                f"{cache}: the subwords could not be written ({error}). Free some space, or choose another place with "
                "--data.cache."
            ) from error
        self._model = sentencepiece.SentencePieceProcessor(model_proto=(folder / MODEL).read_bytes())
        self.vocabulary = [BLANK, *(self._model.id_to_piece(number) for number in range(self._model.get_piece_size()))]

    def encode(self, transcript: str) -> list[int]:
        """The label ids of a transcript.

        Raises:
            KeyError: with a part of the transcript that is no sequence of subwords.
        """
        ids = self._model.encode(transcript)
        if self._model.unk_id() in ids:
            raise KeyError(self._model.encode(transcript, out_type=str)[ids.index(self._model.unk_id())])
        return [number + 1 for number in ids]


def _train(transcripts: Sequence[str], size: int, alphabet: str, folder: Path) -> Path:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(transcripts),
            model_writer=model,
            max_sentence_length=max(4192, *(len(transcript.encode()) + 1 for transcript in transcripts)),
            vocab_size=size,
            character_coverage=1.0,
            required_chars=alphabet.replace(" ", ""),
            normalization_rule_name="identity",
            bos_id=-1,
            eos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rsplit("] ", 1)[-1].strip()
        raise InputError(
            f"data.tokenizer.subwords is {size}, which the training transcripts do not give: {reason}"
        ) from error
    (folder / MODEL).write_bytes(model.getvalue())
    return folder
