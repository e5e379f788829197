"""Archives arrive whole and verified, or not at all."""

import hashlib
import io
import os
import shutil
import signal
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from datamodules.sources.archive import Archive, download, extract, why_damaged
from sextant.errors import InputError
from tests.filesystem import cut_in_half, listing
from tests.processes import in_fork

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


def pin_md5(path: Path) -> Archive:
    content = path.read_bytes()
    return Archive(path.as_uri(), len(content), md5=hashlib.md5(content).hexdigest())


def assert_whole(destination: Path) -> None:
    for name, content in CONTENT.items():
        assert (destination / name.removeprefix("top/")).read_bytes() == content
    assert len(listing(destination)) == len(CONTENT) + 1


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The archive on its server."""
    return make_zip(tmp_path / "server" / "data.zip", CONTENT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the download shall go."""
    return tmp_path / "data" / "data.zip"


def test_download_brings_the_pinned_file(published: Path, path: Path) -> None:
    download(pin(published), path)
    assert path.read_bytes() == published.read_bytes()
    assert listing(path.parent) == ["data.zip"]


def test_right_file_on_disk_is_not_fetched_again(published: Path, path: Path) -> None:
    archive = pin(published)
    download(archive, path)
    before = path.stat()
    published.unlink()
    download(archive, path)
    assert path.stat() == before


def test_half_download_is_replaced(published: Path, path: Path) -> None:
    archive = pin(published)
    download(archive, path)
    cut_in_half(path)
    assert why_damaged(archive, path) == f"it has {archive.size // 2:,} bytes instead of {archive.size:,}"
    download(archive, path)
    assert path.read_bytes() == published.read_bytes()
    assert listing(path.parent) == ["data.zip"]


def test_file_of_the_right_length_with_one_wrong_byte_is_replaced(published: Path, path: Path) -> None:
    archive = pin(published)
    path.parent.mkdir()
    content = bytearray(published.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert f"instead of {archive.sha256}" in str(why_damaged(archive, path))
    download(archive, path)
    assert path.read_bytes() == published.read_bytes()


def test_file_that_is_pinned_by_its_md5_alone_is_fetched_and_kept(published: Path, path: Path) -> None:
    archive = pin_md5(published)
    download(archive, path)
    assert path.read_bytes() == published.read_bytes()
    published.unlink()
    download(archive, path)
    assert listing(path.parent) == ["data.zip"]


def test_file_with_another_md5_is_replaced_or_refused(published: Path, path: Path) -> None:
    archive = pin_md5(published)
    whole = published.read_bytes()
    content = bytearray(whole)
    content[100] ^= 1
    path.parent.mkdir()
    path.write_bytes(content)
    assert why_damaged(archive, path) == f"its MD5 is {hashlib.md5(content).hexdigest()} instead of {archive.md5}"
    download(archive, path)
    assert path.read_bytes() == whole
    path.unlink()
    published.write_bytes(content)
    with pytest.raises(InputError, match=f"not the pinned file, since its MD5 is .* instead of {archive.md5}"):
        download(archive, path)
    assert listing(path.parent) == []


def test_sha256_decides_where_both_hashes_are_pinned(published: Path) -> None:
    right, md5 = pin(published), pin_md5(published).md5
    assert why_damaged(Archive(right.url, right.size, right.sha256, md5="0" * 32), published) is None
    why = why_damaged(Archive(right.url, right.size, "0" * 64, md5), published)
    assert why == f"its SHA-256 is {right.sha256} instead of {'0' * 64}"


def test_file_for_which_no_hash_is_pinned_is_never_trusted(published: Path, path: Path) -> None:
    with pytest.raises(InputError, match="not the pinned file"):
        download(Archive(published.as_uri(), published.stat().st_size), path)
    assert listing(path.parent) == []


def test_other_file_from_the_server_is_refused_and_nothing_is_kept(published: Path, path: Path) -> None:
    archive = pin(published)
    make_zip(published, {"top/other.txt": b"other"})
    with pytest.raises(InputError, match="not the pinned file") as error:
        download(archive, path)
    assert str(path) in str(error.value)
    assert archive.url in str(error.value)
    assert listing(path.parent) == []


def test_file_that_the_server_cuts_short_is_refused_and_nothing_is_kept(published: Path, path: Path) -> None:
    archive = pin(published)
    cut_in_half(published)
    with pytest.raises(InputError, match="not the pinned file"):
        download(archive, path)
    assert listing(path.parent) == []


def test_file_that_the_server_lacks_is_named_and_nothing_is_kept(published: Path, path: Path) -> None:
    archive = pin(published)
    published.unlink()
    with pytest.raises(InputError, match="failed") as error:
        download(archive, path)
    assert str(path) in str(error.value)
    assert archive.url in str(error.value)
    assert listing(path.parent) == []


def test_server_that_does_not_answer_is_named_and_nothing_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:  # bound, but it does not listen
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/data.zip"
        with pytest.raises(InputError, match="failed") as error:
            download(Archive(url, 1000, "0" * 64), path)
    assert url in str(error.value)
    assert listing(path.parent) == []


def break_off_in_a_chunk(answer: BaseHTTPRequestHandler) -> None:
    answer.send_response(200)
    answer.send_header("Transfer-Encoding", "chunked")
    answer.end_headers()
    answer.wfile.write(b"3e8\r\nthe first bytes of a thousand")


def break_off_before_the_promised_length(answer: BaseHTTPRequestHandler) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", "1000")
    answer.end_headers()
    answer.wfile.write(b"the first bytes of a thousand")


def break_off_before_the_headers(answer: BaseHTTPRequestHandler) -> None:
    answer.wfile.write(b"")


def answer_what_is_no_http(answer: BaseHTTPRequestHandler) -> None:
    answer.wfile.write(b"what is no HTTP\r\n\r\n")


def refuse(answer: BaseHTTPRequestHandler) -> None:
    answer.send_error(503)


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server on this machine that answers in the way of the parameter."""
    answer: Callable[[BaseHTTPRequestHandler], None] = request.param

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/data.zip"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "server",
    [
        break_off_in_a_chunk,
        break_off_before_the_promised_length,
        break_off_before_the_headers,
        answer_what_is_no_http,
        refuse,
    ],
    indirect=True,
)
def test_server_that_fails_is_an_input_error_and_nothing_is_kept(server: str, path: Path) -> None:
    with pytest.raises(InputError) as error:
        download(Archive(server, 1000, "0" * 64), path)
    assert server in str(error.value)
    assert listing(path.parent) == []


def test_download_that_does_not_fit_on_the_disk_is_refused_before_it_begins(published: Path, path: Path) -> None:
    archive = Archive(published.as_uri(), 10**18, "0" * 64)
    with pytest.raises(InputError, match=r"needs 1000000000000 MB, but only \d+ MB are free") as error:
        download(archive, path)
    assert str(path.parent) in str(error.value)
    assert listing(path.parent) == []


def test_disk_that_fills_up_while_downloading_is_an_input_error_and_nothing_is_kept(
    published: Path, path: Path
) -> None:
    archive = pin(published)
    _, error = in_fork(lambda: download(archive, path), largest_file=archive.size // 2)
    assert isinstance(error, InputError)
    assert str(path) in str(error)
    assert listing(path.parent) == []


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz"])
def test_folder_of_an_archive_is_extracted_and_the_rest_is_not(tmp_path: Path, name: str) -> None:
    make = make_zip if name.endswith("zip") else make_tar
    archive = make(tmp_path / name, CONTENT | {"rest/0.txt": b"0", "rest.txt": b"1"})
    extract(archive, tmp_path / "place" / "data", "top")
    assert_whole(tmp_path / "place" / "data")
    assert {path.name for path in (tmp_path / "place").iterdir()} <= {"data", ".data.lock"}


def test_folder_that_was_extracted_is_not_extracted_again(published: Path, tmp_path: Path) -> None:
    extract(published, tmp_path / "data", "top")
    inode = (tmp_path / "data").stat().st_ino
    published.unlink()
    extract(published, tmp_path / "data", "top")
    assert (tmp_path / "data").stat().st_ino == inode


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "top/folder/../../../../evil", "{tmp_path}/evil"])
def test_zip_entry_that_leads_out_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    entry = name.format(tmp_path=tmp_path)
    archive = make_zip(tmp_path / "data.zip", CONTENT | {entry: b"evil"})
    before = listing(tmp_path)
    with pytest.raises(InputError, match="leads out of the folder") as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert repr(entry) in str(error.value)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["../evil", "top/../../evil"])
def test_tar_member_that_leads_out_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    archive = make_tar(tmp_path / "data.tar", CONTENT | {name: b"evil"})
    before = listing(tmp_path)
    with pytest.raises(InputError) as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert repr(name) in str(error.value)
    assert listing(tmp_path) == before


def test_tar_link_that_leads_out_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "data.tar", CONTENT | {"top/link/evil": b"evil"}, links={"top/link": "../../.."})
    before = listing(tmp_path)
    with pytest.raises(InputError, match="'top/link'"):
        extract(archive, tmp_path / "data", "top")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_archive_is_named_and_nothing_is_kept(tmp_path: Path, name: str, share: float) -> None:
    archive = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name, CONTENT)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert listing(tmp_path) == [name]


@pytest.mark.parametrize(
    "compression",
    [
        pytest.param(zipfile.ZIP_DEFLATED, id="deflated"),
        pytest.param(zipfile.ZIP_LZMA, id="lzma"),
    ],
)
def test_zip_with_one_damaged_byte_never_gives_wrong_files_nor_another_error_than_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    monkeypatch.setattr(
        "datamodules.sources.archive.tqdm", lambda names, **_: names
    )  # a thousand bars would hide a failure
    entries = {f"top/{k}.txt": f"content of file {k} ".encode() * 3 for k in range(2)}
    archive = make_zip(tmp_path / "data.zip", entries, compression)
    content = archive.read_bytes()
    destination = tmp_path / "data"
    unexpected: dict[str, int] = {}
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        archive.write_bytes(damaged)
        try:
            extract(archive, destination, "top")
        except InputError:
            pass
        except Exception as error:
            unexpected[f"{type(error).__name__}: {error}"] = position
        else:
            # An entry may be lost when the directory at the end is damaged, which has no check sum.
            assert {(f"top/{file.name}", file.read_bytes()) for file in destination.iterdir()} <= {*entries.items()}
            shutil.rmtree(destination)
        assert listing(tmp_path) == ["data.zip"]
    assert not unexpected, f"other errors, each with the position of a byte that causes it: {unexpected}"


@pytest.mark.parametrize("name", ["data.zip", "data.tar"])
def test_archive_without_the_folder_is_named_and_nothing_is_kept(tmp_path: Path, name: str) -> None:
    make = make_zip if name.endswith("zip") else make_tar
    archive = make(tmp_path / name, {"other/0.txt": b"0", "top": b"a file, no folder"})
    with pytest.raises(InputError, match="holds no folder 'top'") as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert listing(tmp_path) == [name]


def test_file_that_is_no_archive_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    archive.write_text("<html>404 Not Found</html>")
    with pytest.raises(InputError, match="neither a zip nor a tar archive") as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert listing(tmp_path) == ["data.zip"]


def test_interrupted_extraction_leaves_nothing_and_the_next_one_is_whole(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    extract_entry = zipfile.ZipFile.extract
    done: list[str] = []

    def interrupted(self: zipfile.ZipFile, member: str, folder: Path) -> str:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(member)
        return extract_entry(self, member, folder)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(zipfile.ZipFile, "extract", interrupted)
        extract(published, place / "data", "top")
    assert len(done) == 3
    assert listing(place) == []
    extract(published, place / "data", "top")
    assert_whole(place / "data")


def test_killed_extraction_leaves_no_half_folder_and_the_next_one_is_whole(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    extract_entry = zipfile.ZipFile.extract
    done: list[str] = []

    def killed(self: zipfile.ZipFile, member: str, folder: Path) -> str:
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(member)
        return extract_entry(self, member, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", killed)
        code, _ = in_fork(lambda: extract(published, place / "data", "top"))
    assert code == -signal.SIGKILL
    assert not (place / "data").exists()
    assert len([name for name in listing(place) if name.endswith(".txt")]) == 3, "not killed in the middle"
    extract(published, place / "data", "top")
    assert_whole(place / "data")
    assert {path.name for path in place.iterdir()} <= {"data", ".data.lock"}


def test_stale_part_of_an_extraction_is_cleared_away(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    stale = place / ".data.abcd_123.part" / "top" / "folder"
    stale.mkdir(parents=True)
    (stale / "0.txt").write_bytes(b"half")
    extract(published, place / "data", "top")
    assert_whole(place / "data")
    assert {path.name for path in place.iterdir()} <= {"data", ".data.lock"}


@pytest.mark.parametrize("name", ["data.zip", "data.tar"])
def test_disk_that_fills_up_while_extracting_is_an_input_error_and_nothing_is_kept(tmp_path: Path, name: str) -> None:
    archive = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name, CONTENT | {"top/large": bytes(100_000)})
    _, error = in_fork(lambda: extract(archive, tmp_path / "data", "top"), largest_file=50_000)
    assert isinstance(error, InputError)
    assert str(archive) in str(error)
    assert str(tmp_path / "data") in str(error)
    assert listing(tmp_path) == [name]
