"""The app in a browser: images from everywhere, segmented with a model of known answers and with DeepLabV3."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome, Keys

from datamodules.images.voc_palette import voc_palette
from datamodules.synthetic.pascal_voc import draw
from tests.app.conftest import ROOT, Site
from tests.app.page import Page, first_runs, image, quarters

pytestmark = pytest.mark.xdist_group("app")  # npm installs once, and one browser is started

# Counts the steps of a timer while the model runs.
COUNT_TICKS = """
window.ticks = 0;
setInterval(() => { if (!document.getElementById("busy").hidden) ticks++; }, 10);
"""


@pytest.mark.slow
def test_mask_of_deeplab_is_that_of_onnxruntime_in_python(
    browser: Chrome, site: Site, exported: Path, tmp_path: Path
) -> None:
    import onnxruntime

    app = Page(browser, site("deeplab", exported))
    assert not app.shown("random")
    assert app.text("status").startswith("The model is ready. It runs on WebAssembly, ")
    drawn, _ = draw(np.random.default_rng(0), 161, 161)
    app.choose(image(drawn, tmp_path / "shapes.png"))
    app.run(COUNT_TICKS)
    app.segment()
    assert app.run("return ticks") > 3  # the page stayed alive

    session = onnxruntime.InferenceSession(exported / "model.onnx")
    (expected,) = session.run(None, {"pixels": np.asarray(drawn)[None]})
    classes = json.loads((exported / "model.onnx.json").read_text())["classes"]
    painted = app.canvas("mask")
    opaque = np.append(voc_palette()[: len(classes)], np.full((len(classes), 1), 255, np.uint8), axis=1)
    opaque[0] = 0  # black classes are not painted
    matches = (painted[:, :, None] == opaque).all(-1)
    assert matches.any(-1).all()
    labels = matches.argmax(-1)
    assert (labels == expected[0]).mean() >= 0.999
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    present = {classes[label]: counts[label] / labels.size for label in np.argsort(-counts) if counts[label]}
    assert len(present) > 2
    legend = app.legend()
    assert list(legend) == list(present)
    assert legend == {name: "< 0.1 %" if s < 0.001 else f"{100 * s:.1f} %" for name, s in present.items()}
    assert app.text("time").endswith(" ms")
    browser.save_screenshot(str(tmp_path / "app.png"))


def test_buttons_follow_what_is_on_the_stage(page: Page, tmp_path: Path) -> None:
    assert page.enabled() == {"photo", "choose"}
    assert page.shown("empty")
    assert not page.shown("random")
    page.choose(image(quarters(), tmp_path / "quarters.png"))
    assert page.enabled() == {"photo", "choose", "segment", "restart"}
    assert not page["opacity"].is_enabled()
    assert page.focused() == "segment"
    page["segment"].send_keys(Keys.ENTER)
    page.wait(lambda: page.shown("result"))
    assert page.focused() == "opacity"
    assert page["opacity"].accessible_name == "Opacity of the colors"
    assert page.enabled() == {"photo", "choose", "restart"}
    assert page.legend() == {"green": "50.0 %", "red": "25.0 %", "blue": "25.0 %"}
    swatches = [swatch.value_of_css_property("background-color") for swatch in page.all("swatch")]
    assert swatches == ["rgba(0, 0, 0, 0)", "rgba(255, 0, 0, 1)", "rgba(0, 0, 255, 1)"]
    threads = min(os.cpu_count() or 1, 4)
    assert page.text("device") == f"WebAssembly, {threads} thread{'s' if threads > 1 else ''}"
    assert page.text("status") == "Segmented: 3 classes."
    page.restart()
    assert page.enabled() == {"photo", "choose"}
    assert page.shown("empty")
    assert not page.shown("view")
    assert not page.shown("result")


def test_opacity_fades_the_colors_from_the_keyboard(page: Page, tmp_path: Path) -> None:
    page.choose(image(np.full((32, 32, 3), (120, 100, 90), np.uint8), tmp_path / "brown.png"))
    page.segment()
    seen = {}
    for percent, keys in {"60 %": "", "0 %": Keys.HOME, "100 %": Keys.END}.items():
        page["opacity"].send_keys(keys)
        assert page.text("percent") == percent
        shot = page.screenshot("view")
        seen[percent] = shot.getpixel((shot.width // 2, shot.height // 2))
    page["opacity"].send_keys(Keys.PAGE_DOWN * 4)
    assert seen["0 %"] == (120, 100, 90)
    assert seen["100 %"] == (255, 0, 0)
    assert seen["60 %"] == pytest.approx((201, 40, 36), abs=2)


def test_mask_lies_over_the_image_which_is_stretched_for_the_model(page: Page, tmp_path: Path) -> None:
    thirds = np.zeros((40, 120, 3), np.uint8)
    thirds[:, :40], thirds[:, 40:80], thirds[:, 80:] = (90, 20, 20), (10, 200, 30), (20, 20, 90)
    page.choose(image(thirds, tmp_path / "thirds.png"))
    page.segment()
    page["opacity"].send_keys(Keys.END)
    shot = page.screenshot("view")
    page["opacity"].send_keys(Keys.PAGE_DOWN * 4)
    assert shot.width == pytest.approx(3 * shot.height, abs=3)
    places = {0.02: (255, 0, 0), 0.3: (255, 0, 0), 0.37: (10, 200, 30), 0.63: (10, 200, 30), 0.7: (0, 0, 255)}
    for across, color in (places | {0.98: (0, 0, 255)}).items():
        for down in (0.05, 0.95):
            assert shot.getpixel((int(across * shot.width), int(down * shot.height))) == color


def test_image_of_one_line_can_be_seen(page: Page, tmp_path: Path) -> None:
    for size in ((2000, 1), (1, 2000)):
        page.choose(image(Image.new("RGB", size, (10, 200, 30)), tmp_path / "line.png"))
        assert min(page.screenshot("view").size) >= 40
        page.segment()
        assert page.legend() == {"green": "100.0 %"}


def test_image_that_is_decoded_late_gives_way_to_a_later_one(page: Page, tmp_path: Path) -> None:
    page.run(
        """
        const decode = createImageBitmap;
        window.createImageBitmap = async (source, options) => {
          if (source.name === "early.png") await new Promise((go) => { window.go = go; });
          window.createImageBitmap = source.name === "early.png" ? decode : window.createImageBitmap;
          return decode(source, options);
        };
        """
    )
    page.drop("early.png", image(np.zeros((20, 10, 3), np.uint8), tmp_path / "early.png").read_bytes())
    page.wait(lambda: page.run("return Boolean(window.go)"))
    page.choose(image(quarters(), tmp_path / "late.png"))
    page.run("go()")
    page.wait(lambda: page.run("return createImageBitmap.name") == "createImageBitmap")
    page.segment()
    assert page.text("size") == "32 x 32 pixels"
    assert len(page.legend()) == 3


def test_time_is_that_of_the_model(browser: Chrome, site: Site, channels: Path, tmp_path: Path) -> None:
    worker = (ROOT / "app" / "worker.js").read_text()
    run = "const results = await session.run"
    assert worker.count(run) == 1
    slow = worker.replace(run, f"await new Promise((ended) => setTimeout(ended, 300));\n{run}")
    app = Page(browser, site("slow", channels, worker=slow))
    app.choose(image(quarters(), tmp_path / "quarters.png"))
    app.run(
        """
        window.started = performance.now();
        new MutationObserver(() => { window.ended ??= performance.now(); })
          .observe(document.getElementById("time"), { childList: true });
        """
    )
    app.segment()
    milliseconds = float(app.text("time").removesuffix(" ms"))
    assert 290 <= milliseconds <= app.run("return ended - started") + 1


def test_bar_follows_the_download(browser: Chrome, site: Site, channels: Path) -> None:
    halves = """
    const real = fetch;
    window.fetch = async (url, options) => {
      const response = await real(url, options);
      if (!String(url).endsWith("model.onnx")) return response;
      const bytes = new Uint8Array(await response.arrayBuffer());
      const half = Math.floor(bytes.length / 2);
      const body = new ReadableStream({ async start(stream) {
        stream.enqueue(bytes.slice(0, half));
        await new Promise((seen) => setTimeout(seen, 200));
        stream.enqueue(bytes.slice(half));
        stream.close();
      } });
      return new Response(body);
    };
    window.values = [];
    new MutationObserver((changes) => {
      for (const { target } of changes) if (target.id === "progress") values.push(target.getAttribute("value"));
    }).observe(document, { attributes: true, attributeFilter: ["value"], subtree: true });
    """
    with first_runs(browser, halves):
        app = Page(browser, site("small", channels))
    first, second, gone = app.run("return values")
    assert float(first) == pytest.approx(0.5, abs=0.01)
    assert float(second) == 1
    assert gone is None  # how long it takes to start is not known


def test_large_image_is_scaled_down(page: Page, tmp_path: Path) -> None:
    page.choose(image(Image.new("RGB", (8000, 6250), (10, 200, 30)), tmp_path / "large.png", compress_level=1))
    assert page.text("size") == "8000 x 6250 pixels, scaled down to 1600 x 1250"
    page.segment()
    assert page.legend() == {"green": "100.0 %"}


def test_image_is_turned_as_its_exif_says(page: Page, tmp_path: Path) -> None:
    pixels = np.zeros((1000, 2000, 3), np.uint8)
    pixels[:, :1000, 0] = pixels[:, 1000:, 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: the left becomes the top
    page.choose(image(pixels, tmp_path / "turned.jpg", exif=exif))
    assert page.text("size") == "1000 x 2000 pixels, scaled down to 800 x 1600"
    shown = page.canvas("image")
    assert shown.shape == (1600, 800, 4)
    assert shown[100, 400, 0] > 200 > 50 > shown[100, 400, 2]
    assert shown[1500, 400, 2] > 200 > 50 > shown[1500, 400, 0]


def test_transparent_pixels_are_white(page: Page, tmp_path: Path) -> None:
    page.choose(image(np.zeros((32, 32, 4), np.uint8), tmp_path / "clear.png"))
    page.segment()
    assert page.legend() == {"red": "100.0 %"}  # the first of equal channels


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.png", b"no image at all", "notes.png is no image that this browser can open"),
        ("empty.png", b"", "empty.png is empty (0 bytes)"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing.svg is a drawing (SVG)"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "set the phone's camera to JPEG"),
    ],
)
def test_what_is_no_image_is_named_and_leaves_the_page_usable(
    page: Page, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    page.choose(tmp_path / name)
    assert message in page.text("message")
    assert page.shown("empty")
    page.choose(image(quarters(), tmp_path / "quarters.png"))
    assert not page.shown("message")
    page.choose(tmp_path / name)
    assert page.shown("view")  # the image before stays
    page.segment()
    assert len(page.legend()) == 3


def test_images_can_be_dropped(page: Page, tmp_path: Path) -> None:
    page.drop("dropped.png", image(quarters(), tmp_path / "quarters.png").read_bytes())
    page.wait(lambda: page.shown("view"))
    page.segment()
    assert len(page.legend()) == 3
    page.run("document.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer() }))")
    page.wait(lambda: page.text("message") == "What was dropped is no file. Drop an image file.")


def test_images_can_be_pasted(page: Page, tmp_path: Path) -> None:
    paste = """
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([new Uint8Array(arguments[0])], "pasted.png"));
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    """
    page.run(paste, list(image(quarters(), tmp_path / "quarters.png").read_bytes()))
    page.wait(lambda: page.shown("view"))


def test_restart_drops_what_is_being_segmented(page: Page, tmp_path: Path) -> None:
    page.choose(image(quarters(), tmp_path / "quarters.png"))
    page.run("document.getElementById('segment').click(); document.getElementById('restart').click()")
    assert page.shown("empty")
    assert not page.shown("busy")
    page.choose(image(255 - quarters(), tmp_path / "negative.png"))
    page.segment()
    assert page.legend() == {"red": "75.0 %", "green": "25.0 %"}


def test_wrong_file_does_not_stop_what_is_being_segmented(page: Page, tmp_path: Path) -> None:
    page.choose(image(quarters(), tmp_path / "quarters.png"))
    page.run("document.getElementById('segment').click()")
    page.drop("notes.png", b"no image at all")
    page.wait(lambda: page.shown("message") and page.shown("result"))
    assert not page.shown("busy")


def test_page_fits_a_phone(page: Page, tmp_path: Path) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        for name in ("segment", "restart", "photo", "choose"):
            assert page[name].rect["x"] + page[name].rect["width"] <= 360
        page.choose(image(Image.new("RGB", (900, 1600), (200, 10, 30)), tmp_path / "portrait.png"))
        assert page.seen("segment")
        assert page.seen("view")
        page["segment"].click()
        page.wait(lambda: page.shown("result"))
        assert page.run("return document.documentElement.scrollWidth") == 360
        page.run("document.getElementById('legend').scrollIntoView({ block: 'end' })")
        assert page.seen("opacity")
        assert page.seen("view")
        page.drop("notes.png", b"no image at all")
        page.wait(lambda: page.shown("message"))
        assert page.seen("message")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_asked_of_another_host(
    browser: Chrome, site: Site, address: str, foreign: tuple[str, list[str]], channels: Path
) -> None:
    browser.get_log("performance")
    app = Page(browser, site("small", channels))
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert f"{address}/small/models/model.onnx" in asked
    assert all(url.startswith(f"{address}/") for url in asked)
    elsewhere, asked_there = foreign
    fetched = f"fetch('{elsewhere}', {{ mode: 'no-cors' }}).then(() => 'answered', (error) => String(error))"
    assert app.browser.execute_async_script(f"{fetched}.then(arguments[0])") == "TypeError: Failed to fetch"
    # The worker has a policy of its own, and no log that could be read here.
    worker = f"self.onmessage = () => {fetched}.then((error) => postMessage({{ error }}));"
    app = Page(browser, site("curious", channels, worker=worker))
    assert app.text("failure") == "TypeError: Failed to fetch"
    assert asked_there == []
