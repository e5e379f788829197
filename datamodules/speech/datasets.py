"""Utterances as batches: their recordings decoded, their transcripts as label ids."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules.speech.audio_file import InvalidAudioError, read_audio
from datamodules.speech.corpus import Utterance
from datamodules.speech.shards import ShardedUtterance, SpeechShards
from datamodules.speech.tokenizers import Tokenizer
from sextant.errors import InputError
from sextant.padding import pad_right


class Utterances(Dataset):
    """Batches of utterances.

    A batch has ``audio``, float (B, S) padded on the right, and its lengths int64 (B,); ``labels``, int64 (B, U), and
    theirs; ``text`` and ``id``, lists of B texts; and ``index`` int64 (B,).

    Args:
        utterances: each with the folder that its path is in.
        sample_rate: of their recordings, per second.
        tokenizer: makes labels of transcripts.

    Raises:
        InputError: a transcript has what is not in the vocabulary.
    """

    def __init__(self, utterances: list[tuple[Path, Utterance]], sample_rate: int, tokenizer: Tokenizer) -> None:
        self.utterances = utterances
        self.sample_rate = sample_rate
        self.labels = [
            _encode(tokenizer, utterance.transcript, folder / utterance.path) for folder, utterance in utterances
        ]

    def __len__(self) -> int:
        return len(self.utterances)

    def path(self, index: int) -> Path:
        """The file of an utterance."""
        folder, utterance = self.utterances[index]
        return folder / utterance.path

    def seconds(self) -> np.ndarray:
        """The lengths of the utterances, float64 (N,)."""
        return np.array([utterance.samples for _, utterance in self.utterances]) / self.sample_rate

    def __getitem__(self, indices: list[int]) -> dict[str, Any]:
        return pad_right([self._read(index) for index in indices])

    def _read(self, index: int) -> dict[str, Any]:
        _, utterance = self.utterances[index]
        try:
            samples, _ = read_audio(self.path(index))
        except InvalidAudioError as error:
            raise InputError(f"{self.path(index)}: it has changed since it was listed: {error}.") from error
        if samples.shape != (utterance.samples, 1):
            raise InputError(
                f"{self.path(index)}: it has changed since it was listed: {samples.shape[0]:,} samples instead of "
                f"{utterance.samples:,}. Run again to list it anew."
            )
        return {
            "audio": torch.from_numpy(samples[:, 0]),
            "labels": torch.tensor(self.labels[index]),
            "text": utterance.transcript,
            "id": utterance.id,
            "index": index,
        }


class ShardedUtterances:
    """Batches of utterances in shards, as :class:`Utterances` has them; their ``index`` says where an utterance is.

    Args:
        shards: where they are.
        tokenizer: makes labels of transcripts.
    """

    def __init__(self, shards: SpeechShards, tokenizer: Tokenizer) -> None:
        self.shards = shards
        self.tokenizer = tokenizer

    def batch(self, utterances: list[ShardedUtterance]) -> dict[str, Any]:
        """Decode utterances and put them together.

        Raises:
            InputError: a recording is damaged, or a transcript has what is not in the vocabulary.
        """
        return pad_right(
            [
                {
                    "audio": torch.from_numpy(utterance.decode()),
                    "labels": torch.tensor(_encode(self.tokenizer, utterance.transcript, utterance)),
                    "text": utterance.transcript,
                    "id": utterance.id,
                    "index": utterance.index,
                }
                for utterance in utterances
            ]
        )


def _encode(tokenizer: Tokenizer, transcript: str, where: object) -> list[int]:
    try:
        return tokenizer.encode(transcript)
    except KeyError as error:
        raise InputError(
            f"{where}: its transcript has {error.args[0]!r}, which is not in the vocabulary: {transcript!r}. Correct "
            "the transcript, or add it to --data.tokenizer.alphabet (each character more is a label more: "
            "--model.vocab_size)."
        ) from error
