"""A tokenizer for questions, from local files or the Hugging Face hub, such as BERT's WordPiece."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sextant.errors import InputError
from sextant.files.hub import look_for_hub
from sextant.files.text_file import entries


class QuestionTokenizer:
    """A tokenizer, in general BERT's for lower case (Devlin et al. 2018, https://arxiv.org/abs/1810.04805).

    Args:
        source: a ``vocab.txt`` with one subword a line, a folder that holds one or that ``save_pretrained`` wrote, or
            the name of a model on the Hugging Face hub.
        max_length: the most tokens of a text, special tokens included.

    Raises:
        InputError: there is no tokenizer.
    """

    def __init__(self, source: str, max_length: int) -> None:
        self.max_length = max_length
        self._tokenizer = _load(source)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def encode(self, texts: Sequence[str], more: Sequence[str] | None = None) -> tuple[list[NDArray[np.int64]], int]:
        """The token ids of texts.

        Args:
            texts: N texts.
            more: N texts that follow them, after a separator; of a pair that is too long, the longer one is truncated.

        Returns:
            For each text its token ids, int64 (T,), T at most ``max_length``; and how many texts were truncated.
        """
        pairs = list(texts), None if more is None else list(more)
        tokens = self._tokenizer(*pairs, verbose=False)["input_ids"]
        truncated = sum(len(one) > self.max_length for one in tokens)
        if truncated:
            tokens = self._tokenizer(*pairs, truncation=True, max_length=self.max_length)["input_ids"]
        return [np.array(one, np.int64) for one in tokens], truncated


def _load(source: str) -> Any:
    from transformers import AutoTokenizer, BertTokenizer  # takes seconds that other DataModules need not wait for

    path = Path(source)
    described = any((path / name).exists() for name in ("tokenizer.json", "tokenizer_config.json"))
    file = path / "vocab.txt" if path.is_dir() and not described else path
    advice = (
        "Give a vocab.txt, a folder with a tokenizer, or the name of a model on the Hugging Face hub (it needs the "
        "network the first time) with --data.preprocessing.tokenizer=..."
    )
    if file.is_file():
        return BertTokenizer(vocab=_read_vocabulary(file, advice))
    look_for_hub(source)
    try:
        return AutoTokenizer.from_pretrained(source)
    except Exception as error:  # which the library raises itself, where a file is damaged
        first_line = str(error).strip().split("\n")[0]
        raise InputError(f"{source}: no tokenizer can be loaded from there: {first_line} {advice}") from error


def _read_vocabulary(file: Path, advice: str) -> dict[str, int]:
    """The ids of the subwords of a ``vocab.txt``, which are the numbers of its lines from 0 on."""
    ids: dict[str, int] = {}
    for number, token in entries(file, "a subword"):
        if token in ids:
            raise InputError(
                f"{file}:{number}: {token!r} is there already, in line {ids[token] + 1}, and a subword has one id. The "
                "file may be damaged; get it anew."
            )
        ids[token] = number - 1
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in ids]
    if missing:
        raise InputError(f"{file}: it is no vocabulary of BERT's: {', '.join(missing)} is missing. {advice}")
    return ids
