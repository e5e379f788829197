"""A browser, a server of variants of the app, and models for them."""

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from torch import Tensor, nn
from torchvision.models.segmentation import DeepLabV3
from torchvision.transforms.v2.functional import normalize

from app.serve import make_server
from datamodules.images.normalization import IMAGENET_MEAN, IMAGENET_STD
from datamodules.synthetic.pascal_voc import draw
from tests.app.page import Page
from train import main

ROOT = Path(__file__).resolve().parents[2]
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
Site = Callable[..., str]


def start_browser(*flags: str) -> webdriver.Chrome:
    """Headless Chromium that reaches no host but this one, with a camera that shows a test image."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    here = ("--headless=new", "--window-size=1200,900", "--no-sandbox", "--disable-dev-shm-usage")
    for flag in (*here, only_here, *CAMERA, *flags):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def require_programs(*names: str) -> None:
    """Skip a test whose programs are missing; in CI, where all tests are to be run, it fails."""
    _require(names, shutil.which, "on Debian: apt-get install chromium chromium-driver npm")


def require_libraries(*names: str) -> None:
    """Skip a test whose libraries are missing, or fail in CI."""
    _require(names, importlib.util.find_spec, "the extra named export brings it")


def _require(names: Sequence[str], find: Callable[[str], object], advice: str) -> None:
    for name in names:
        if find(name) is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is missing; {advice}")


@pytest.fixture(scope="session")
def assets() -> None:
    """Require a browser, and copy the app's runtime."""
    require_programs("chromium", "chromedriver", "npm")
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


@pytest.fixture
def foreign() -> Iterator[tuple[str, list[str]]]:
    """The address of another host, and what was asked of it."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    for address in _serve(ThreadingHTTPServer(("127.0.0.1", 0), Handler)):
        yield address, asked


@pytest.fixture(scope="session")
def site(assets: None, sites: Path, address: str) -> Site:
    """Make a variant of the app and give its address.

    Its arguments: the variant's name, the folder of its model, and texts that replace files of the app.
    """
    # The server follows no link out of the folder that it serves.
    files = shutil.copytree(ROOT / "app", sites / "files", ignore=shutil.ignore_patterns("models", "node_modules"))

    def make(name: str, models: Path, **replaced: str) -> str:
        folder = sites / name
        if not folder.exists():
            folder.mkdir()
            for path in files.iterdir():
                (folder / path.name).symlink_to(path)
            shutil.copytree(models, folder / "models")
            for stem, text in replaced.items():
                (folder / f"{stem}.js").unlink()
                (folder / f"{stem}.js").write_text(text)
        return f"{address}/{name}/"

    return make


@pytest.fixture(scope="module")
def small(browser: webdriver.Chrome, site: Site, channels: Path) -> Page:
    return Page(browser, site("small", channels))


@pytest.fixture
def page(small: Page, site: Site, channels: Path) -> Page:
    """The app with the small model and an empty stage."""
    if not small.browser.current_url.endswith("/small/"):
        small = Page(small.browser, site("small", channels))
    if small["restart"].is_enabled():
        small.restart()
    return small


def describe(folder: Path, shape: list[int], classes: list[str], colors: list[list[int]], **changes: Any) -> None:
    """Write the ``model.onnx.json`` of ``model.onnx``."""
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
    (folder / "model.onnx.json").write_text(json.dumps(description | changes))


@pytest.fixture(scope="session")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answer is known: the strongest of red, green and blue in each of 32 x 32 pixels."""
    require_libraries("onnx")
    import onnx

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


@torch.no_grad()
def _spread(network: DeepLabV3, images: Tensor) -> None:
    """Make a network that was hardly trained, and prefers one class everywhere, find each in some place."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # takes the statistics of the next batch as they are
    network.train()(images)
    last = network.eval().get_submodule("classifier.4")
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    last.bias -= network(images)["out"].mean((0, 2, 3))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, pascal_voc: Path) -> Path:
    """A checkpoint of DeepLabV3 exported for images of 161 x 161 pixels."""
    require_libraries("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    configs = [
        word for name in ("", "synthetic/") for word in ("--config", str(ROOT / f"configs/{name}deeplab_voc.yaml"))
    ]
    words = [*configs, "--data.synthetic=false", f"--data.root={pascal_voc}", f"--data.cache={folder / 'cache'}"]
    words += ["--data.augmentation.crop_size=33", "--trainer.enable_progress_bar=false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        short = ["--trainer.limit_train_batches=1", "--trainer.max_epochs=1"]
        run = main(["fit", *words, *short, f"--trainer.logger.save_dir={folder / 'logs'}"])
        images = [np.asarray(draw(np.random.default_rng(seed), 161, 161)[0]) for seed in range(4)]
        image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
        _spread(run.model.network, normalize(image, IMAGENET_MEAN, IMAGENET_STD))
        checkpoint = Path(str(run.trainer.log_dir)) / "checkpoints" / "last.ckpt"
        contents = torch.load(checkpoint, weights_only=True)
        contents["state_dict"] = run.model.state_dict()
        torch.save(contents, checkpoint)
        file = [f"--output={folder / 'model.onnx'}", "--size=[161,161]", "--preprocessing=normalize", "--argmax=true"]
        main(["export", *words, "--format=onnx", f"--ckpt_path={checkpoint}", *file])
    return folder
