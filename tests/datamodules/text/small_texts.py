"""Small texts in files and in memory, and what is read of them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from typing_extensions import override

from datamodules.text.sources import FILE_NAMES, TextSource
from datamodules.text.token_stream import TokenStreams

#: Characters that str.splitlines takes for line ends, and this reader must not.
OTHER_BREAKS = ("\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
BOM = b"\xef\xbb\xbf"


def texts(source: TextSource, split: str = "train") -> list[str]:
    """The lines of a split without their ends."""
    return [line.rstrip("\r\n") for line, _ in source.lines(split)]


def words(source: TextSource, split: str = "train") -> list[list[str]]:
    return [line.split() for line, _ in source.lines(split)]


def write_splits(root: Path, scheme: int = 0, /, **contents: bytes) -> Path:
    """Text files under the plain names, or with scheme 1 under those of the published archives."""
    root.mkdir(parents=True, exist_ok=True)
    for split, content in contents.items():
        (root / FILE_NAMES[split][scheme]).write_bytes(content)
    return root


def read_all(source: TextSource) -> None:
    for split in source.splits:
        texts(source, split)


class Given(TextSource):
    """Lines from memory.

    Args:
        content: the lines of each split.
        version: the fingerprint.
        before_line: is called with the split before each of its lines.
    """

    def __init__(
        self,
        content: Mapping[str, list[str]],
        version: str = "1",
        before_line: Callable[[str], object] = lambda split: None,
    ) -> None:
        super().__init__("memory")
        self.content = content
        self.version = version
        self.before_line = before_line
        self.read: list[str] = []

    @property
    @override
    def splits(self) -> Mapping[str, str]:
        return {split: f"memory ({split})" for split in self.content}

    @override
    def size(self, split: str) -> int:
        return len(self.content[split])

    @override
    def lines(self, split: str) -> Iterator[tuple[str, int]]:
        self.read.append(split)
        for line in self.content[split]:
            self.before_line(split)
            yield line, 1

    @property
    @override
    def fingerprint(self) -> str:
        return self.version


def decoded(streams: TokenStreams, split: str = "train") -> list[str]:
    """A stream as words."""
    return [streams.vocabulary[number] for number in streams.open(split)]
