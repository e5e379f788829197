"""Serve the app to browsers on this computer, with the headers that let WebAssembly use threads."""

import argparse
import functools
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

APP = Path(__file__).resolve().parent
LOCAL = "127.0.0.1"
# That of index.html, which alone would not hold for the worker.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'"
)


class AppHandler(SimpleHTTPRequestHandler):
    """Static files for a page that is isolated from others, as browsers ask of pages with threads."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }

    def parse_request(self) -> bool:
        """Refuse a request that is for another host: a page elsewhere had its name lead to this computer."""
        if not super().parse_request():
            return False
        hosts = self.headers.get_all("Host", [])
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        own = {f"{name}:{port}" for name in ("localhost", LOCAL)} | ({"localhost", LOCAL} if port == 80 else set())
        if len(hosts) > 1 or not (hosts or self.request_version == "HTTP/1.0"):
            self.send_error(HTTPStatus.BAD_REQUEST, "A request has one Host")
            return False
        if hosts and hosts[0].strip().lower() not in own:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, f"The app is at http://{LOCAL}:{port}/")
            return False
        return True

    def send_head(self) -> Any:
        """Answer with a file of the folder, or with 404: a link that leads out of the folder is none."""
        folder = Path(self.directory).resolve()
        path = Path(self.translate_path(self.path))
        try:
            inside = all((path / page).resolve().is_relative_to(folder) for page in ("", "index.html", "index.htm"))
        except (ValueError, OSError, RuntimeError):  # no name of a file, or links in a circle
            inside = False
        if not inside:
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """Add what every answer has."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-cache")  # ask each time whether the file has changed
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of requests that went well."""


class AppServer(ThreadingHTTPServer):
    """Takes it calmly when a browser breaks a download off."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that ended."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder, for this computer alone; port 0 takes a free one."""
    return AppServer((LOCAL, port), functools.partial(AppHandler, directory=str(folder)))


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    if not (APP / "vendor").is_dir():
        sys.exit("app/vendor is missing, which holds onnxruntime-web. Run: make app-assets")
    if not (APP / "models" / "model.onnx.json").is_file():
        sys.exit("app/models/model.onnx.json is missing. Export a model with: make app")
    try:
        server = make_server(APP, port)
    except (OSError, OverflowError) as error:
        sys.exit(f"Port {port} cannot be used ({error}). Choose another one: python app/serve.py --port 8001")
    with server:
        print(f"The app is at http://{LOCAL}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
