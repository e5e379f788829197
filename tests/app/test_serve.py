"""The app's server."""

import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
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


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_server_isolates_the_page_and_ends_with_ctrl_c(copy: Path) -> None:
    port = free_port()
    process = serve(copy, port)
    assert process.stdout is not None
    assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/vendor/runtime.mjs", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/javascript"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors == ""


@pytest.mark.parametrize(("missing", "command"), [("vendor", "make app-assets"), ("models", "make app")])
def test_what_is_missing_is_named(copy: Path, missing: str, command: str) -> None:
    shutil.rmtree(copy / missing)
    _, errors = serve(copy, free_port()).communicate(timeout=10)
    assert f"app/{missing}" in errors
    assert command in errors


def test_port_that_is_taken_is_named(copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, errors = serve(copy, port).communicate(timeout=10)
    assert f"Port {port} cannot be used" in errors
    assert "--port" in errors
    assert "Traceback" not in errors
