"""Archives of a few small files."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

from datamodules.sources.archive import Archive
from tests.filesystem import listing

CONTENT = {f"top/folder/{k}.txt": f"content of file {k} ".encode() * 20 for k in range(5)}


def make_zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, entries: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def pin(path: Path) -> Archive:
    content = path.read_bytes()
    return Archive(path.as_uri(), len(content), hashlib.sha256(content).hexdigest())


def assert_whole(destination: Path) -> None:
    for name, content in CONTENT.items():
        assert (destination / name.removeprefix("top/")).read_bytes() == content
    assert len(listing(destination)) == len(CONTENT) + 1
