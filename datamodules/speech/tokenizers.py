"""How transcripts are spelled in labels: by characters, or by pieces of words."""

import hashlib
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import sentencepiece

from sextant.atomic_folder import make_folder
from sextant.errors import InputError

BLANK = "<blank>"  # label 0, CTC's own
BOUNDARY = "\u2581"  # stands for a space, as in SentencePiece
ALPHABET = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # LibriSpeech's


class Characters:
    """One label for each character.

    Args:
        alphabet: the characters, the space among them.

    Raises:
        InputError: the alphabet is empty, or has a character twice.
    """

    def __init__(self, alphabet: str = ALPHABET) -> None:
        if not alphabet or len(set(alphabet)) < len(alphabet):
            raise InputError(f"data.alphabet is {alphabet!r}; it must list each character of the transcripts once.")
        #: The labels, by number.
        self.vocabulary = [BLANK, *alphabet.replace(" ", BOUNDARY)]
        self._numbers = {character: number for number, character in enumerate(alphabet, 1)}

    def spell(self, transcript: str) -> list[int]:
        """The labels of a transcript.

        Raises:
            KeyError: with a character that has no label.
        """
        return [self._numbers[character] for character in transcript]


class Pieces:
    """Pieces of words that SentencePiece finds in the training transcripts (Kudo 2018, https://arxiv.org/abs/1804.10959).

    The model is trained once for the same transcripts, on one thread, so that it is the same everywhere.

    Args:
        transcripts: of the training split.
        size: how many pieces, every character of the transcripts and of the alphabet among them.
        cache: where the model is kept.
        alphabet: characters that have a piece even where no training transcript has them.

    Raises:
        InputError: the transcripts cannot be cut into so many pieces.
    """

    def __init__(self, transcripts: Sequence[str], size: int, cache: Path, alphabet: str = "") -> None:
        digest = hashlib.sha256("\n".join([alphabet, *transcripts]).encode()).hexdigest()[:16]
        folder = cache / f"pieces-{size}-{digest}"
        try:
            if not folder.exists():  # a cache that may only be read will do
                make_folder(folder, partial(_train, transcripts, size, alphabet))
        except OSError as error:
            raise InputError(
                f"{cache}: the pieces of words could not be written ({error}). Free some space, or choose another "
                "place with --data.cache."
            ) from error
        self._model = sentencepiece.SentencePieceProcessor(model_proto=(folder / "pieces.model").read_bytes())
        #: The labels, by number.
        self.vocabulary = [BLANK, *(self._model.id_to_piece(number) for number in range(self._model.get_piece_size()))]

    def spell(self, transcript: str) -> list[int]:
        """The labels of a transcript.

        Raises:
            KeyError: with a part of the transcript that no piece spells.
        """
        numbers = self._model.encode(transcript)
        if self._model.unk_id() in numbers:
            raise KeyError(self._model.encode(transcript, out_type=str)[numbers.index(self._model.unk_id())])
        return [number + 1 for number in numbers]


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
        raise InputError(f"data.pieces is {size}, which the training transcripts do not give: {reason}") from error
    (folder / "pieces.model").write_bytes(model.getvalue())
    return folder
