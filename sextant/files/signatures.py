"""What a file that should be text is instead, by its first bytes."""

import re
from dataclasses import dataclass

LONGEST = 512  # bytes from the start of a file that are looked at


@dataclass(frozen=True)
class Signature:
    """The first bytes of a kind of files.

    Args:
        pattern: what they match.
        kind: what the file is.
        advice: what to do to get text; ``{name}`` stands for the file's name.
    """

    pattern: bytes
    kind: str
    advice: str


_ENCODING = "Convert the file, for instance with: iconv -f {kind} -t UTF-8 {{name}}"
_UNPACK = "Unpack it, for instance with: {command} {{name}}"
_PAGE = "A server sent it in place of the file, for instance to say what went wrong: get the file anew"
_OTHER = "Give the text file that is meant"

SIGNATURES = (
    Signature(rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff", "text in UTF-32", _ENCODING.format(kind="UTF-32")),
    Signature(rb"\xff\xfe|\xfe\xff", "text in UTF-16", _ENCODING.format(kind="UTF-16")),
    Signature(rb"\x1f\x8b", "a gzip file", _UNPACK.format(command="gunzip")),
    Signature(rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive", _UNPACK.format(command="unzip")),
    Signature(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "a bzip2 file", _UNPACK.format(command="bunzip2")),
    Signature(rb"\xfd7zXZ\x00", "an xz file", _UNPACK.format(command="unxz")),
    Signature(rb"\x28\xb5\x2f\xfd", "a Zstandard file", _UNPACK.format(command="unzstd")),
    Signature(rb"\x04\x22\x4d\x18", "an LZ4 file", _UNPACK.format(command="unlz4")),
    Signature(rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK.format(command="7z x")),
    Signature(rb"Rar!\x1a\x07", "a RAR archive", _UNPACK.format(command="unrar x")),
    Signature(rb".{257}ustar[\x00 ]", "a tar archive", _UNPACK.format(command="tar -xf")),
    Signature(
        rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|II\*\x00|MM\x00\*|RIFF.{4}WEBP|BM.{4}\x00{4}", "an image", _OTHER
    ),
    Signature(rb"RIFF.{4}WAVE|fLaC\x00|OggS\x00|ID3[\x02-\x04]\x00", "a recording", _OTHER),
    Signature(rb"%PDF-", "a PDF document", "Save its text as a plain text file in UTF-8"),
    Signature(rb"\{\\rtf\d|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document", "Save it as plain text in UTF-8"),
    Signature(rb"PAR1.{4}|ARROW1\x00\x00|\x89HDF\r\n\x1a\n|SQLite format 3\x00", "a table or database", _OTHER),
    Signature(rb"(?i:(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)[\s>])", "an HTML page", _PAGE),
    Signature(rb"(\xef\xbb\xbf)?\s*<\?xml[\s?]", "an XML document", _PAGE),
    Signature(
        rb"version https://git-lfs\.github\.com/spec/",
        "a pointer of Git LFS to a file",
        "Get the file itself with: git lfs pull",
    ),
    Signature(
        rb"mmap lm http://kheafield\.com/code",
        "a binary language model of KenLM's",
        "Give the file in ARPA format that it was made from",
    ),
)


def describe(start: bytes, name: str) -> str | None:
    """What a file is, and what to do to get text from it.

    Args:
        start: its first :data:`LONGEST` bytes.
        name: of the file, for the advice.

    Returns:
        A clause and a sentence without its full stop, or None if the bytes may be text.
    """
    for signature in SIGNATURES:
        if re.match(signature.pattern, start, re.DOTALL):
            return f"it is {signature.kind}, not text in UTF-8. {signature.advice.format(name=name)}"
    return None
