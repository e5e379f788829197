"""Files arrive whole and verified, or not at all."""

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from datamodules.sources.archive import Archive, download, why_damaged
from sextant.errors import InputError
from tests.datamodules.sources.archives import make_zip, pin
from tests.filesystem import cut_in_half, listing, require_synced
from tests.processes import in_fork


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the download shall go."""
    return tmp_path / "data" / "data.zip"


def pin_md5(path: Path) -> Archive:
    content = path.read_bytes()
    return Archive(path.as_uri(), len(content), md5=hashlib.md5(content).hexdigest())


def test_download_brings_the_pinned_file(published: Path, path: Path) -> None:
    download(pin(published), path)
    assert path.read_bytes() == published.read_bytes()
    assert listing(path.parent) == ["data.zip"]


def test_download_is_on_the_disk_before_it_has_its_name(published: Path, path: Path) -> None:
    require_synced(path, lambda: download(pin(published), path))


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
