"""A text corpus as streams of token ids, built once and memory-mapped."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from tqdm import tqdm

from datamodules.text.sources import TextSource
from sextant.atomic_folder import make_current
from sextant.errors import InputError

EOS = "<eos>"  # ends every line
UNK = "<unk>"  # stands for every word that is not in the vocabulary
FORMAT = 3  # of the folder; another number builds it anew


class TokenStreams:
    """The splits of a corpus as int32 streams of token ids.

    Words are what white space separates, and every line ends in ``<eos>``. The vocabulary holds the words of the
    training split in the order of their first appearance; ``<unk>`` comes last unless the text itself has it. Words
    of any split that are not in it become ``<unk>``, and a message says how many.

    The streams are built on first use, in memory that depends on the vocabulary alone, and kept in the folder
    ``<cache>/text-<place>-<fingerprint>``, which is complete or absent. A changed source is read anew, and the
    outdated folder is deleted.

    Args:
        source: gives the lines.
        cache: folder for the streams of all corpora.
        min_count: words that the training split has less often are left out of the vocabulary.

    Raises:
        InputError: there is no training text, a line cannot be read, or there is no room for the streams.
    """

    def __init__(self, source: TextSource, cache: Path, min_count: int = 1) -> None:
        self.name = source.name
        self.splits = source.splits
        self._instead = source.instead
        self._require("train")
        place = hashlib.sha256(json.dumps([min_count, dict(source.splits)]).encode()).hexdigest()[:8]
        key = hashlib.sha256(f"{FORMAT}\0{source.fingerprint}".encode()).hexdigest()[:16]
        try:
            self.folder = make_current(cache / f"text-{place}", key, partial(_build, source, min_count))
        except OSError as error:
            raise InputError(
                f"{cache}: the token ids of the corpus could not be written ({error}). Nothing was kept; free "
                "some space or choose another place with --data.cache."
            ) from error
        self._require_text("train")
        #: The words, by their ids.
        self.vocabulary: list[str] = json.loads((self.folder / "vocabulary.json").read_text(encoding="utf-8"))
        #: For each split, how many words were not in the vocabulary.
        self.unknown: dict[str, int] = json.loads((self.folder / "unknown.json").read_text())

    def open(self, split: str) -> np.ndarray:
        """Memory-map a split, int32 (tokens,).

        Raises:
            InputError: the corpus has no such split, or its text is empty.
        """
        self._require(split)
        self._require_text(split)
        name = self.splits[split]
        stream = np.memmap(self.folder / f"{split}.int32", np.int32, "r")
        if self.unknown[split]:
            percentage = 100 * self.unknown[split] / len(stream)
            rank_zero_info(
                f"{name}: {self.unknown[split]:,} of {len(stream):,} words ({percentage:.2f} %) are not in the "
                f"vocabulary of {len(self.vocabulary):,} words and count as {UNK}."
            )
        return stream

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise InputError(
                f"{self.name}: there is no {split!r} split, only {', '.join(self.splits) or 'nothing'}."
                f"{self._instead} A corpus is train.txt, valid.txt and test.txt (or wiki.train.tokens and so on) in "
                "one folder (data.root), or a set with splits of these names (data.dataset)."
            )

    def _require_text(self, split: str) -> None:
        if (self.folder / f"{split}.int32").stat().st_size == 0:
            raise InputError(
                f"{self.splits[split]}: the text is empty ({split}). Give a corpus whose every split has text."
            )


def _words(source: TextSource, split: str, action: str) -> Iterator[list[str]]:
    """The words of each line, under a progress bar where it is worth one."""
    with tqdm(total=source.size(split), desc=f"{action} {split} text", unit="", unit_scale=True, delay=1) as bar:
        for line, size in source.lines(split):
            yield [*line.split(), EOS]
            bar.update(size)


def _build(source: TextSource, min_count: int, folder: Path) -> Path:
    counts: Counter[str] = Counter()  # keeps the order of first appearance
    for words in _words(source, "train", "Counting"):
        counts.update(words)
    vocabulary = [word for word, count in counts.items() if count >= min_count or word in (EOS, UNK)]
    if UNK not in counts:
        vocabulary.append(UNK)
    ids = {word: number for number, word in enumerate(vocabulary)}
    unknown = dict.fromkeys(source.splits, 0)
    for split in source.splits:
        with (folder / f"{split}.int32").open("wb") as out:
            for words in _words(source, split, "Tokenizing"):
                unknown[split] += sum(word not in ids for word in words)
                out.write(np.array([ids.get(word, ids[UNK]) for word in words], np.int32).tobytes())
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "unknown.json").write_text(json.dumps(unknown))
    return folder
