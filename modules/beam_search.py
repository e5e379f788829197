"""Beam search over the labels of a CTC model, with an n-gram language model of words if there is one."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from modules.networks.ctc import BLANK, Hypothesis
from modules.transcript import BOUNDARY
from sextant.errors import InputError
from sextant.files.text_file import sized_lines

NUMBER = re.compile(" *[0-9]{1,18}")


@dataclass
class Decoding:
    """How labels are decoded from a model's probabilities.

    Args:
        beam_size: hypotheses that are kept at each frame; 1 takes the likeliest label of each frame (best path).
        beam_threshold: hypotheses whose score is lower than the best one's by more than this are dropped.
        language_model: file of an n-gram model of words, in ARPA format; needs a beam, and a vocabulary of characters.
            Only words that it knows are recognized then.
        lm_weight: weight of the language model's score beside the network's.
        word_score: added for each word; below 0 words become longer.

    Raises:
        InputError: a value is out of its range, or the language model is missing or has no beam.
    """

    beam_size: int = 1
    beam_threshold: float = 50.0
    language_model: str | None = None
    lm_weight: float = 1.0
    word_score: float = 0.0

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise InputError(f"model.decoding.beam_size is {self.beam_size}; it must be 1 (best path) or more.")
        if self.beam_threshold <= 0:
            raise InputError(f"model.decoding.beam_threshold is {self.beam_threshold}; it must be above 0.")
        if self.language_model is None:
            return
        if self.beam_size == 1:
            raise InputError("A language model needs a beam: give --model.decoding.beam_size=50 beside it.")
        if not Path(self.language_model).is_file():
            raise InputError(f"{self.language_model}: there is no such file (model.decoding.language_model).")


class BeamSearch:
    """Flashlight's beam search, as torchaudio wraps it.

    Args:
        vocabulary: the labels by id, the blank first.
        decoding: how to decode.

    Raises:
        InputError: the language model is no ARPA file, or the vocabulary has subwords.
    """

    def __init__(self, vocabulary: Sequence[str], decoding: Decoding) -> None:
        from torchaudio.models.decoder import ctc_decoder

        self.boundary = vocabulary.index(BOUNDARY) if BOUNDARY in vocabulary else BLANK
        options: dict[str, Any] = {
            "tokens": list(vocabulary),
            "blank_token": vocabulary[BLANK],
            "sil_token": vocabulary[self.boundary],
            "beam_size": decoding.beam_size,
            "beam_threshold": decoding.beam_threshold,
            "log_add": True,  # the paths of a hypothesis count together
        }
        self.has_lexicon = decoding.language_model is not None
        if decoding.language_model is None:
            self._decode = ctc_decoder(lexicon=None, **options)
            return
        if any(len(label) > 1 for label in vocabulary[BLANK + 1 :]) or self.boundary == BLANK:
            raise InputError(
                "model.decoding.language_model needs a model whose vocabulary is characters and a space; this one has "
                "subwords. Decode without it."
            )
        words = _words_of(Path(decoding.language_model), set(vocabulary))
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as lexicon:
            lexicon.writelines(f"{word} {' '.join(word)} {BOUNDARY}\n" for word in words)
            lexicon.flush()
            try:
                self._decode = ctc_decoder(
                    lexicon=lexicon.name,
                    lm=decoding.language_model,
                    lm_weight=decoding.lm_weight,
                    word_score=decoding.word_score,
                    **options,
                )
            except (RuntimeError, UnicodeDecodeError) as error:  # KenLM's, which may cite a byte that is not UTF-8
                said = error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error)
                reason = said.strip().splitlines()[-1]
                raise InputError(
                    f"{decoding.language_model}: no complete n-gram model in ARPA format ({reason}). Get the file "
                    "again, or decode without it."
                ) from error

    def __call__(self, log_probs: Tensor, frames: Tensor) -> list[Hypothesis]:
        """Decode a batch.

        Args:
            log_probs: (B, T, labels and blank).
            frames: without padding, int64 (B,).
        """
        return [self._search(log_probs[i, :count].float().cpu()) for i, count in enumerate(frames.tolist())]

    def _search(self, log_probs: Tensor) -> Hypothesis:
        if self.has_lexicon:
            # Words end with a boundary in the lexicon, but the last word of a transcript has none: add a frame that is
            # nothing but a boundary.
            end = F.one_hot(torch.tensor([self.boundary]), log_probs.shape[1]).float()
            log_probs = torch.cat([log_probs, (end - 1) * 1e4])
        best = self._decode(log_probs[None].contiguous())[0]
        labels, frames = best[0].tokens.tolist(), [int(step) - 1 for step in best[0].timesteps]
        inside = [(label, frame) for label, frame in zip(labels, frames, strict=True) if 0 <= frame < len(log_probs)]
        labels, frames = [label for label, _ in inside], [frame for _, frame in inside]
        while labels and labels[-1] == self.boundary:
            labels.pop()
            frames.pop()
        return Hypothesis(labels, frames, log_probs[frames, labels].exp().tolist())


def _words_of(language_model: Path, labels: set[str]) -> list[str]:
    """The words of an ARPA file whose characters are all labels.

    Raises:
        InputError: the file says that it has more n-grams than bytes, or fewer than none, for which KenLM would ask for
            memory or crash.
    """
    words, in_unigrams = [], False
    size = language_model.stat().st_size
    for number, (line, _) in enumerate(sized_lines(language_model), 1):
        kind, _, count = line.strip().partition("=")
        if kind.startswith("ngram ") and not (NUMBER.fullmatch(count) and int(count) <= size):
            raise InputError(
                f"{language_model}: line {number}: no n-gram model in ARPA format has {count[:40]!r} n-grams. "
                "Get the file again, or decode without it."
            )
        if line.startswith("\\"):
            if in_unigrams:
                break
            in_unigrams = line.strip() == "\\1-grams:"
        elif in_unigrams and len(fields := line.split()) >= 2 and set(fields[1]) <= labels:
            words.append(fields[1])
    if not words:
        raise InputError(
            f"{language_model}: it has no words of this model's characters (model.decoding.language_model). It must "
            "be an n-gram model in ARPA format, in the case of the transcripts."
        )
    return words
