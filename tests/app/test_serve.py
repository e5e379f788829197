"""The app's server."""

import shutil
import signal
import socket
import struct
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.conftest import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The server in a folder of its own, with assets and a model."""
    for folder in ("vendor", "models"):
        (tmp_path / folder).mkdir()
    (tmp_path / "models" / "model.onnx.json").write_text("{}")
    (tmp_path / "vendor" / "runtime.mjs").write_text("")
    shutil.copy(ROOT / "app" / "serve.py", tmp_path)
    return tmp_path


def serve(copy: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(copy / "serve.py"), f"--port={port}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().split()[4]


def test_server_isolates_the_page_and_ends_with_ctrl_c(copy: Path) -> None:
    process = serve(copy, 0)
    address = address_of(process)
    with urllib.request.urlopen(f"{address}vendor/runtime.mjs", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/javascript"
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert f'content="{policy}"' in (ROOT / "app" / "index.html").read_text()
    assert f"Content-Security-Policy: {policy}\n" in (ROOT / "app" / "README.md").read_text()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors == ""


def test_download_that_the_browser_breaks_off_is_no_error(copy: Path) -> None:
    (copy / "models" / "model.onnx").write_bytes(bytes(2**25))
    process = serve(copy, 0)
    place = urllib.parse.urlsplit(address_of(process))
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(b"GET /models/model.onnx HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.0 200")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes at once
    with urllib.request.urlopen(f"{place.geturl()}vendor/runtime.mjs", timeout=10) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert errors == ""


@pytest.fixture
def place(copy: Path) -> Iterator[urllib.parse.SplitResult]:
    """The address of a server that runs, and complains of nothing but requests."""
    process = serve(copy, 0)
    yield urllib.parse.urlsplit(address_of(process))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert "Traceback" not in errors


def status(place: urllib.parse.SplitResult, path: str, *lines: str, version: str = "1.1") -> int:
    """The status of the answer to a request with these lines."""
    request = "\r\n".join([f"GET {path} HTTP/{version}", *lines, "", ""])
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(request.encode("latin-1"))
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    "path",
    [
        "/%00",
        "/vendor/%00.mjs",
        "/%ed%a0%80",
        "/%ff",
        "/" + "a" * 5000,
        "/%2e%2e/%2e%2e/etc/passwd",
        "/../../etc/passwd",
    ],
)
def test_path_that_no_file_has_is_not_found(place: urllib.parse.SplitResult, path: str) -> None:
    assert status(place, path, f"Host: {place.netloc}") == 404
    assert status(place, "/vendor/runtime.mjs", f"Host: {place.netloc}") == 200


@pytest.mark.parametrize("name", ["secret.txt", "folder/secret.txt", "circle", "pages/"])
def test_link_that_leads_out_of_the_folder_is_not_found(
    copy: Path, tmp_path_factory: pytest.TempPathFactory, place: urllib.parse.SplitResult, name: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    (copy / "secret.txt").symlink_to(outside / "secret.txt")
    (copy / "folder").symlink_to(outside)
    (copy / "circle").symlink_to(copy / "circle")
    (copy / "pages").mkdir()
    (copy / "pages" / "index.html").symlink_to(outside / "secret.txt")
    assert status(place, f"/{name}", f"Host: {place.netloc}") == 404


def test_link_that_stays_in_the_folder_is_followed(copy: Path, place: urllib.parse.SplitResult) -> None:
    (copy / "models" / "again.mjs").symlink_to(copy / "vendor" / "runtime.mjs")
    assert status(place, "/models/again.mjs", f"Host: {place.netloc}") == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LocalHost:{port}", 200),
        ("attacker.example", 421),
        ("attacker.example:{port}", 421),
        ("localhost.attacker.example:{port}", 421),
        ("localhost:1", 421),
        ("", 421),
    ],
)
def test_page_of_another_host_cannot_ask(place: urllib.parse.SplitResult, host: str, expected: int) -> None:
    """Its name may have come to mean this computer, which the browser does not see."""
    assert status(place, "/vendor/runtime.mjs", f"Host: {host.format(port=place.port)}") == expected


def test_request_names_one_host(place: urllib.parse.SplitResult) -> None:
    assert status(place, "/vendor/runtime.mjs") == 400
    assert status(place, "/vendor/runtime.mjs", f"Host: {place.netloc}", "Host: attacker.example") == 400
    assert status(place, "/vendor/runtime.mjs", version="1.0") == 200  # which knows no hosts


@pytest.mark.parametrize(("missing", "command"), [("vendor", "make app-assets"), ("models", "make app")])
def test_what_is_missing_is_named(copy: Path, missing: str, command: str) -> None:
    shutil.rmtree(copy / missing)
    _, errors = serve(copy, 0).communicate(timeout=10)
    assert f"app/{missing}" in errors
    assert command in errors


def test_port_that_is_taken_is_named(copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, errors = serve(copy, port).communicate(timeout=10)
    assert f"Port {port} cannot be used" in errors
    assert "--port" in errors
    assert "Traceback" not in errors
