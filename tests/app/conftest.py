"""A browser, a server of variants of the app, and models for them."""

import functools
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from torch import Tensor, nn

from app.serve import make_server
from datamodules.normalization import IMAGENET_MEAN, IMAGENET_STD
from datamodules.samples.pascal_voc import draw
from datamodules.voc_palette import voc_palette
from modules.networks.deeplab import deeplab

ROOT = Path(__file__).resolve().parents[2]
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
Site = Callable[..., str]


def start_browser(*flags: str) -> webdriver.Chrome:
    """Headless Chromium that reaches no host but this one, with a camera that shows a test picture."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    here = ("--headless=new", "--window-size=1200,900", "--no-sandbox", "--disable-dev-shm-usage")
    for flag in (*here, only_here, *CAMERA, *flags):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


@pytest.fixture(scope="session")
def assets() -> None:
    """Skip where there is no browser; copy the app's runtime otherwise."""
    for program in ("chromium", "chromedriver", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing; on Debian: apt-get install chromium chromium-driver npm")
    subprocess.run(["make", "app-assets"], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="session")
def browser(assets: None) -> Iterator[webdriver.Chrome]:
    driver = start_browser()
    yield driver
    driver.quit()


def _serve(server: ThreadingHTTPServer) -> Iterator[str]:
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is served: each folder in it is a variant of the app."""
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="session")
def address(sites: Path) -> Iterator[str]:
    yield from _serve(make_server(sites, 0))


@pytest.fixture(scope="session")
def plain_address(sites: Path) -> Iterator[str]:
    """The address of a server without the headers that threads need, like most static hosts."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(sites))
    yield from _serve(ThreadingHTTPServer(("127.0.0.1", 0), handler))


@pytest.fixture(scope="session")
def site(assets: None, sites: Path, address: str) -> Site:
    """Make a variant of the app and give its address.

    Its arguments: the variant's name, the folder of its model, and texts that replace files of the app.
    """

    def make(name: str, models: Path, **replaced: str) -> str:
        folder = sites / name
        if not folder.exists():
            folder.mkdir()
            for path in (ROOT / "app").iterdir():
                if path.name not in ("models", "node_modules"):
                    (folder / path.name).symlink_to(path)
            (folder / "models").symlink_to(models)
            for stem, text in replaced.items():
                (folder / f"{stem}.js").unlink()
                (folder / f"{stem}.js").write_text(text)
        return f"{address}/{name}/"

    return make


def describe(folder: Path, shape: list[int], classes: list[str], colors: list[list[int]], **changes: Any) -> None:
    """Write the ``model.json`` of ``model.onnx``."""
    description = {
        "format": "onnx",
        "file": "model.onnx",
        "file_bytes": (folder / "model.onnx").stat().st_size,
        "random_weights": False,
        "inputs": [{"name": "pixels", "dtype": "uint8", "shape": shape}],
        "outputs": [{"name": "mask", "dtype": "uint8", "shape": shape[:3]}],
        "classes": classes,
        "colors": colors,
    }
    (folder / "model.json").write_text(json.dumps(description | changes))


@pytest.fixture(scope="session")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answer is known: the strongest of red, green and blue in each of 32 x 32 pixels."""
    onnx = pytest.importorskip("onnx", reason="onnx is missing, which the extra named export brings")
    folder = tmp_path_factory.mktemp("channels")
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        strongest (uint8[1, 32, 32, 3] pixels) => (uint8[1, 32, 32] mask) {
            values = Cast <to = 1> (pixels)
            strongest = ArgMax <axis = 3, keepdims = 0> (values)
            mask = Cast <to = 2> (strongest)
        }"""
    )
    onnx.save(graph, folder / "model.onnx")
    describe(folder, [1, 32, 32, 3], ["red", "green", "blue"], [[255, 0, 0], [0, 0, 0], [0, 0, 255]])
    return folder


class _Exported(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD)[:, None, None])

    def scores(self, pixels: Tensor) -> Tensor:
        return self.network((pixels.permute(0, 3, 1, 2) - self.mean) / self.std)["out"]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.scores(pixels).argmax(1).to(torch.uint8)


def _spread(network: nn.Module, scores: Callable[[Tensor], Tensor], pixels: Tensor) -> None:
    """Make a network with random weights, which prefers one class everywhere, find each in some place."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # takes the statistics of the next batch as they are
    with torch.no_grad():
        scores(pixels)
        network.eval()
        last = network.get_submodule("classifier.4")
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        last.bias -= scores(pixels).mean((0, 2, 3))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DeepLabV3 with random weights for 400 x 400 pixels, as ``train.py export`` writes it."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is missing, which the extra named export brings")
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(2)
    network = deeplab("mobilenet_v3_large", 5, 16, auxiliary=False)
    model = _Exported(network)
    pictures = [np.asarray(draw(np.random.default_rng(seed), 200, 200)[0]) for seed in range(4)]
    _spread(network, model.scores, torch.from_numpy(np.stack(pictures)))
    model.eval()
    blank = torch.zeros(1, 400, 400, 3, dtype=torch.uint8)
    program = torch.onnx.export(model, (blank,), input_names=["pixels"], output_names=["mask"], verbose=False)
    assert program is not None
    program.save(folder / "model.onnx")
    classes = ["background", "disc", "square", "triangle", "star"]
    describe(folder, [1, 400, 400, 3], classes, voc_palette()[:5].tolist(), random_weights=True)
    return folder
