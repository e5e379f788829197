"""The app without a usable model or in a browser that lacks something: a message or the slower way, no blank page."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome

from tests.app.conftest import ROOT, Site, describe, start_browser
from tests.app.page import Page, first_runs

# npm installs once, and one browser is started
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("app")]

REMAKE = "Remove the folder models, and make it again with: make app."
GREEN = Image.new("RGB", (32, 32), (10, 200, 30))
# A browser that shows a GPU, which then does not work.
BROKEN_GPU = "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () => ({}) } });\n"
# A processor that plays a GPU, taken for a real one.
SOFTWARE_GPU = "Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { value: false });\n"
# A GPU that is lost once the model was tried.
LOST_GPU = """
const lose = () => { throw new Error("lost"); };
self.addEventListener("message", ({ data }) => { if (data.segment) GPUQueue.prototype.submit = lose; });
"""


def segments(app: Page, tmp_path: Path) -> bool:
    """Whether a green image is found to be green."""
    GREEN.save(tmp_path / "green.png")
    app.choose(tmp_path / "green.png")
    app.segment()
    return app.legend() == {"green": "100.0 %"}


def altered(channels: Path, folder: Path, **changes: object) -> None:
    """Put the small model into a folder, with a description that says something else."""
    (folder / "model.onnx").write_bytes((channels / "model.onnx").read_bytes())
    description = json.loads((channels / "model.onnx.json").read_text())
    (folder / "model.onnx.json").write_text(json.dumps(description | changes))


def complaint(app: Page) -> str:
    assert app.shown("failure")
    assert app.text("status") == "There is no model."
    assert not app["segment"].is_enabled()
    return app.text("failure")


def test_missing_description(browser: Chrome, site: Site, tmp_path: Path) -> None:
    app = Page(browser, site("no-description", tmp_path))
    assert complaint(app) == f"models/model.onnx.json is missing. {REMAKE}"


def test_missing_model(browser: Chrome, site: Site, channels: Path, tmp_path: Path) -> None:
    altered(channels, tmp_path)
    (tmp_path / "model.onnx").unlink()
    app = Page(browser, site("no-model", tmp_path))
    assert complaint(app) == f"models/model.onnx is missing. {REMAKE}"


def test_damaged_description(browser: Chrome, site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.onnx.json").write_text("<!doctype html>")
    app = Page(browser, site("no-json", tmp_path))
    assert complaint(app) == f"models/model.onnx.json is not JSON. {REMAKE}"


@pytest.mark.parametrize("change", [-1, 1])
def test_model_of_another_size(browser: Chrome, site: Site, channels: Path, tmp_path: Path, change: int) -> None:
    altered(channels, tmp_path)
    content = (channels / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(content[:-1] if change < 0 else content + b"\0")
    size = len(content)
    app = Page(browser, site(f"size{change}", tmp_path))
    found = f"{size - 1}" if change < 0 else f"more than {size}"
    assert f"models/model.onnx has {found} bytes where models/model.onnx.json says {size}" in complaint(app)


def test_damaged_model(browser: Chrome, site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(np.random.default_rng(0).bytes(1000))
    describe(tmp_path, [1, 32, 32, 3], ["a"], [[0, 0, 0]])
    app = Page(browser, site("damaged", tmp_path))
    assert "models/model.onnx cannot be run here" in complaint(app)
    # Without a model, images can still be looked at, and the reason stays.
    GREEN.save(tmp_path / "green.png")
    app.choose(tmp_path / "green.png")
    assert app.shown("view")
    app.restart()
    assert "models/model.onnx cannot be run here" in complaint(app)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "executorch"}, "its format is executorch: export it with --format=onnx"),
        ({"file": None}, "it has no file and file_bytes"),
        ({"inputs": []}, "it has 0 inputs"),
        ({"inputs": [{"dtype": "float32", "shape": [1, 3, 32, 32]}]}, "its input is float32: export it with --prep"),
        ({"inputs": [{"dtype": "uint8", "shape": [1, "height", "width", 3]}]}, "its images have no fixed size"),
        (
            {"outputs": [{"dtype": "float32", "shape": [1, 3, 32, 32]}]},
            "its output is float32: export it with --argmax",
        ),
        ({"outputs": [{"dtype": "uint8", "shape": [1]}]}, "it gives no label for each pixel"),
        ({"colors": [[0, 0, 0]]}, "its classes have no colors"),
        ({"colors": [None, [0, 0, 0], [0, 0, 0]]}, "a color is not three numbers"),
    ],
)
def test_model_of_another_kind(
    browser: Chrome, site: Site, channels: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    altered(channels, tmp_path, **change)
    app = Page(browser, site(tmp_path.name, tmp_path))
    assert message in complaint(app)


def test_download_that_breaks_off(browser: Chrome, site: Site, channels: Path) -> None:
    broken = """
    const real = fetch;
    window.fetch = async (url, options) => String(url).endsWith("model.onnx")
      ? new Response(new ReadableStream({ start: (s) => { s.enqueue(new Uint8Array(7)); }, pull: (s) => s.error() }))
      : real(url, options);
    """
    with first_runs(browser, broken):
        app = Page(browser, site("small", channels))
    assert "models/model.onnx broke off after 7 of " in complaint(app)


def test_random_weights_are_said(browser: Chrome, site: Site, channels: Path, tmp_path: Path) -> None:
    altered(channels, tmp_path, random_weights=True)
    app = Page(browser, site("random", tmp_path))
    assert app.shown("random")
    assert app.text("status").startswith("The model is ready.")


def test_label_without_a_name(browser: Chrome, site: Site, channels: Path, tmp_path: Path) -> None:
    altered(channels, tmp_path, classes=["red"], colors=[[255, 0, 0]])
    app = Page(browser, site("few-names", tmp_path))
    assert not segments(app, tmp_path)
    assert "The model gave the label 1, but models/model.onnx.json names 1 classes" in app.text("message")
    assert app.text("status") == "The image was not segmented."
    assert app["segment"].is_enabled()
    assert app.focused() == "segment"


# A model that comes later than what is wrong with the worker.
LATE_MODEL = """
const real = fetch;
window.fetch = async (url, options) => {
  if (String(url).endsWith("model.onnx")) await new Promise((ended) => setTimeout(ended, 300));
  return real(url, options);
};
"""


@pytest.mark.parametrize("script", ["", LATE_MODEL], ids=["early", "late"])
@pytest.mark.parametrize(
    ("name", "worker"), [("throws", "throw new Error('Something odd.');"), ("misses", "import './nowhere.js';")]
)
def test_worker_that_fails_is_said(
    browser: Chrome, site: Site, channels: Path, name: str, worker: str, script: str
) -> None:
    with first_runs(browser, script):
        app = Page(browser, site(f"worker-{name}", channels, worker=worker))
    assert "worker.js " in complaint(app)
    assert "Reload the page" in complaint(app)


def test_missing_runtime(browser: Chrome, site: Site, channels: Path) -> None:
    worker = (ROOT / "app" / "worker.js").read_text().replace("vendor/", "nowhere/")
    app = Page(browser, site("no-runtime", channels, worker=worker))
    assert "make app-assets" in complaint(app)


def test_missing_module_is_said(browser: Chrome, site: Site, channels: Path) -> None:
    browser.get(site("no-module", channels, main="import './nowhere.js';"))
    message = browser.find_element("id", "message")
    assert "could not be loaded" in message.text


def test_unforeseen_error_is_said(browser: Chrome, site: Site, channels: Path) -> None:
    browser.get(site("thrown", channels, main="Promise.reject(new Error('Something odd.'));"))
    assert (
        "The page met an error that it did not foresee (Something odd.)" in browser.find_element("id", "message").text
    )


def test_unforeseen_error_leaves_the_buttons_usable(
    browser: Chrome, site: Site, channels: Path, tmp_path: Path
) -> None:
    legend = (ROOT / "app" / "legend.js").read_text().replace("list.replaceChildren(", "list.nothingOfThisName(")
    app = Page(browser, site("odd", channels, legend=legend))
    assert not segments(app, tmp_path)
    app.wait(lambda: "did not foresee (list.nothingOfThisName is not" in app.text("message"))
    assert app.text("status") == "The image was not segmented."
    assert app["segment"].is_enabled()


def test_browser_without_webassembly(browser: Chrome, site: Site, channels: Path) -> None:
    with first_runs(browser, "delete window.WebAssembly"):
        app = Page(browser, site("small", channels))
    assert "This browser has no WebAssembly" in complaint(app)


def test_page_without_scripts_says_so(browser: Chrome, site: Site, channels: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(site("small", channels))
    text = browser.find_element("tag name", "body").text
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "turn JavaScript on" in text


def test_host_without_isolation_runs_on_one_thread(
    browser: Chrome, site: Site, plain_address: str, channels: Path, tmp_path: Path
) -> None:
    site("small", channels)
    app = Page(browser, f"{plain_address}/small/")
    assert app.text("status") == "The model is ready. It runs on WebAssembly, 1 thread."
    assert segments(app, tmp_path)


def test_broken_gpu_leaves_webassembly(browser: Chrome, site: Site, channels: Path, tmp_path: Path) -> None:
    worker = (ROOT / "app" / "worker.js").read_text()
    app = Page(browser, site("broken-gpu", channels, worker=BROKEN_GPU + worker))
    assert "WebAssembly" in app.text("status")
    assert segments(app, tmp_path)


@pytest.fixture(scope="module")
def gpu_browser(assets: None) -> Iterator[Chrome]:
    flags = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader")
    driver = start_browser(*flags, "--use-angle=swiftshader", "--enable-features=Vulkan")
    yield driver
    driver.quit()


def test_gpu_is_used_where_there_is_one(gpu_browser: Chrome, site: Site, channels: Path, tmp_path: Path) -> None:
    worker = (ROOT / "app" / "worker.js").read_text()
    app = Page(gpu_browser, site("gpu", channels, worker=SOFTWARE_GPU + worker))
    assert app.text("status") == "The model is ready. It runs on WebGPU."
    assert segments(app, tmp_path)


def test_processor_that_plays_a_gpu_is_not_used(gpu_browser: Chrome, site: Site, channels: Path) -> None:
    app = Page(gpu_browser, site("small", channels))
    assert "WebAssembly" in app.text("status")


def test_lost_gpu_leaves_webassembly(gpu_browser: Chrome, site: Site, channels: Path, tmp_path: Path) -> None:
    worker = (ROOT / "app" / "worker.js").read_text()
    app = Page(gpu_browser, site("lost-gpu", channels, worker=SOFTWARE_GPU + LOST_GPU + worker))
    assert app.text("status") == "The model is ready. It runs on WebGPU."
    assert segments(app, tmp_path)
    assert "WebAssembly" in app.text("device")
