"""The published subsets are downloaded once and verified."""

import hashlib
import itertools
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from datamodules.librispeech import LibriSpeech
from datamodules.sources.archive import Archive
from datamodules.speech import subsets as published
from sextant.errors import InputError
from tests.datamodules.speech_data import COUNTS, indices, recordings
from tests.filesystem import listing, snapshot


@pytest.fixture
def site(
    librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[dict[str, bytes], list[str]]]:
    """The archives of a site on this machine by their names, which are pinned, and what it was asked for."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.strip("/"))
            content = files.get(asked[-1])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        pinned = {}
        for subset in ("dev-small", "test-small"):
            archive = tmp_path / f"{subset}.tar.gz"
            with tarfile.open(archive, "w:gz") as tar:
                tar.add(librispeech / subset, f"LibriSpeech/{subset}")
                tar.add(librispeech / "test-small" / "0" / "1" / "0-1.trans.txt", "LibriSpeech/README.TXT")
            files[archive.name] = archive.read_bytes()
            url = f"http://127.0.0.1:{http.server_port}/{archive.name}"
            hashes = {"md5": hashlib.md5(files[archive.name]).hexdigest()}
            if subset == "dev-small":
                hashes = {"sha256": hashlib.sha256(files[archive.name]).hexdigest()}
            pinned[subset] = Archive(url, len(files[archive.name]), **hashes)
            archive.unlink()
        monkeypatch.setattr(published, "ARCHIVES", pinned)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield files, asked
        http.shutdown()
        thread.join()


Site = tuple[dict[str, bytes], list[str]]


def test_published_subsets_are_downloaded_and_extracted_once(
    prepared: Callable[..., LibriSpeech], librispeech: Path, tmp_path: Path, site: Site
) -> None:
    root = tmp_path / "data" / "LibriSpeech"
    options = {"root": str(root), "download": True, "train": ["my-own"]}
    data = prepared("validate", **options)
    assert sorted(site[1]) == ["dev-small.tar.gz", "test-small.tar.gz"]
    assert listing(root) == [name for name in listing(librispeech) if not name.startswith("train-small")]
    for file in recordings(librispeech, "val"):
        assert (root / file.relative_to(librispeech)).read_bytes() == file.read_bytes()
    assert len(list(itertools.chain(*indices(data.val_dataloader())))) == COUNTS["val"]
    prepared("test", **options)
    assert len(site[1]) == 2


def test_subsets_that_are_there_are_not_downloaded_and_none_unless_it_is_asked_for(
    make: Callable[..., LibriSpeech], copy: Path, tmp_path: Path, site: Site
) -> None:
    before = snapshot(tmp_path)
    make(root=str(copy), download=True).prepare_data()
    make(root=str(tmp_path / "elsewhere")).prepare_data()
    make(root=str(tmp_path / "elsewhere"), download=True, train=["a"], val=["b"], test=["c"]).prepare_data()
    assert site[1] == []
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("damage", [False, True])
def test_archive_that_lies_beside_the_root_is_used_if_it_is_whole(
    make: Callable[..., LibriSpeech], tmp_path: Path, site: Site, damage: bool
) -> None:
    files, asked = site
    archive = tmp_path / "data" / "test-small.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(files[archive.name])
    if damage:
        content = bytearray(files[archive.name])
        content[len(content) // 2] ^= 1
        archive.write_bytes(content)
    root = tmp_path / "data" / "LibriSpeech"
    make(root=str(root), download=True, val=["test-small"]).prepare_data()
    assert asked == ["test-small.tar.gz"] * damage
    assert len(recordings(root, "test")) == COUNTS["test"]
    assert archive.read_bytes() == files[archive.name]


@pytest.mark.parametrize("subset", ["dev-small", "test-small"])
@pytest.mark.parametrize("fault", ["cut", "changed", "missing"])
def test_download_that_is_damaged_is_named_and_nothing_of_it_is_kept(
    make: Callable[..., LibriSpeech], tmp_path: Path, site: Site, subset: str, fault: str
) -> None:
    files, _ = site
    name = f"{subset}.tar.gz"
    whole = files[name]
    damaged = {"cut": whole[: len(whole) // 2], "changed": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]}
    files.pop(name)
    if fault in damaged:
        files[name] = damaged[fault]
    data = make(root=str(tmp_path / "data" / "LibriSpeech"), download=True, val=[subset], test=[subset])
    with pytest.raises(InputError) as error:
        data.prepare_data()
    assert str(tmp_path / "data" / name) in str(error.value)
    assert listing(tmp_path / "data") == []
    files[name] = whole
    data.prepare_data()
    assert listing(tmp_path / "data" / "LibriSpeech")[0] == subset
