"""The app in a browser: pictures from everywhere, segmented with a model of known answers and with DeepLabV3."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from selenium.webdriver import Chrome, Keys

from datamodules.samples.pascal_voc import draw
from datamodules.voc_palette import voc_palette
from tests.app.conftest import Site
from tests.app.page import Page

# Counts the steps of a timer while the model runs.
COUNT_TICKS = """
window.ticks = 0;
setInterval(() => { if (!document.getElementById("busy").hidden) ticks++; }, 10);
"""


@pytest.fixture(scope="module")
def small(browser: Chrome, site: Site, channels: Path) -> Page:
    return Page(browser, site("small", channels))


@pytest.fixture
def page(small: Page, site: Site, channels: Path) -> Page:
    """The app with the small model and an empty stage."""
    if not small.browser.current_url.endswith("/small/"):
        small = Page(small.browser, site("small", channels))
    if small["restart"].is_enabled():
        small.restart()
    return small


def picture(pixels: NDArray[np.uint8] | Image.Image, path: Path, **options: Any) -> Path:
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
    return path


def quarters() -> NDArray[np.uint8]:
    """32 x 32 pixels: one half green, a quarter each red and blue."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16, 1] = pixels[:16, 16:, 0] = pixels[16:, 16:, 2] = 200
    return pixels


@pytest.mark.slow
def test_mask_of_deeplab_is_that_of_onnxruntime_in_python(
    browser: Chrome, site: Site, exported: Path, tmp_path: Path
) -> None:
    import onnxruntime

    app = Page(browser, site("deeplab", exported))
    assert not app.shown("random")
    assert app.text("status").startswith("The model is ready. It runs on WebAssembly, ")
    drawn, _ = draw(np.random.default_rng(0), 161, 161)
    app.choose(picture(drawn, tmp_path / "shapes.png"))
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
    page.choose(picture(quarters(), tmp_path / "quarters.png"))
    assert page.enabled() == {"photo", "choose", "segment", "restart"}
    assert not page["opacity"].is_enabled()
    page.segment()
    assert page.enabled() == {"photo", "choose", "restart"}
    assert page.legend() == {"green": "50.0 %", "red": "25.0 %", "blue": "25.0 %"}
    assert page.text("status") == "Segmented: 3 classes."
    page.restart()
    assert page.enabled() == {"photo", "choose"}
    assert page.shown("empty")
    assert not page.shown("view")
    assert not page.shown("result")


def test_opacity_fades_the_colours_from_the_keyboard(page: Page, tmp_path: Path) -> None:
    page.choose(picture(np.full((32, 32, 3), (120, 100, 90), np.uint8), tmp_path / "brown.png"))
    page.segment()
    seen = {}
    for percent, keys in {"60 %": "", "0 %": Keys.HOME, "100 %": Keys.END}.items():
        page["opacity"].send_keys(keys)
        assert page.text("percent") == percent
        shot = Image.open(BytesIO(page["view"].screenshot_as_png)).convert("RGB")
        seen[percent] = shot.getpixel((shot.width // 2, shot.height // 2))
    page["opacity"].send_keys(Keys.PAGE_DOWN * 4)
    assert seen["0 %"] == (120, 100, 90)
    assert seen["100 %"] == (255, 0, 0)
    assert seen["60 %"] == pytest.approx((201, 40, 36), abs=2)


def test_large_picture_is_scaled_down(page: Page, tmp_path: Path) -> None:
    page.choose(picture(Image.new("RGB", (8000, 6250), (10, 200, 30)), tmp_path / "large.png", compress_level=1))
    assert page.text("size") == "8000 x 6250 pixels, scaled down to 1600 x 1250"
    page.segment()
    assert page.legend() == {"green": "100.0 %"}


def test_picture_is_turned_as_its_exif_says(page: Page, tmp_path: Path) -> None:
    pixels = np.zeros((1000, 2000, 3), np.uint8)
    pixels[:, :1000, 0] = pixels[:, 1000:, 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: the left becomes the top
    page.choose(picture(pixels, tmp_path / "turned.jpg", exif=exif))
    assert page.text("size") == "1000 x 2000 pixels, scaled down to 800 x 1600"
    shown = page.canvas("picture")
    assert shown.shape == (1600, 800, 4)
    assert shown[100, 400, 0] > 200 > 50 > shown[100, 400, 2]
    assert shown[1500, 400, 2] > 200 > 50 > shown[1500, 400, 0]


def test_transparent_pixels_are_white(page: Page, tmp_path: Path) -> None:
    page.choose(picture(np.zeros((32, 32, 4), np.uint8), tmp_path / "clear.png"))
    page.segment()
    assert page.legend() == {"red": "100.0 %"}  # the first of equal channels


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.png", b"no picture at all", "notes.png is no picture that this browser can open"),
        ("empty.png", b"", "empty.png is empty (0 bytes)"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "set the phone's camera to JPEG"),
    ],
)
def test_what_is_no_picture_is_named_and_leaves_the_page_usable(
    page: Page, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    page.choose(tmp_path / name)
    assert message in page.text("message")
    assert page.shown("empty")
    page.choose(picture(quarters(), tmp_path / "quarters.png"))
    assert not page.shown("message")
    page.choose(tmp_path / name)
    assert page.shown("view")  # the picture before stays
    page.segment()
    assert len(page.legend()) == 3


def test_pictures_can_be_dropped(page: Page, tmp_path: Path) -> None:
    page.drop("dropped.png", picture(quarters(), tmp_path / "quarters.png").read_bytes())
    page.wait(lambda: page.shown("view"))
    page.segment()
    assert len(page.legend()) == 3
    page.run("document.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer() }))")
    page.wait(lambda: page.text("message") == "What was dropped is no file. Drop a picture file.")


def test_pictures_can_be_pasted(page: Page, tmp_path: Path) -> None:
    paste = """
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([new Uint8Array(arguments[0])], "pasted.png"));
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    """
    page.run(paste, list(picture(quarters(), tmp_path / "quarters.png").read_bytes()))
    page.wait(lambda: page.shown("view"))


def test_camera_gives_a_picture(page: Page) -> None:
    page["photo"].click()
    page.wait(lambda: page.shown("film"))
    assert page.enabled() == {"choose", "restart"}
    page.wait(lambda: page["shutter"].is_enabled())
    page["shutter"].click()
    page.wait(lambda: page.shown("view"))
    assert not page.run("return document.getElementById('preview').srcObject")  # the camera was let go
    page.segment()
    assert page.legend()
    page["photo"].click()
    page["cancel"].click()
    assert page.shown("result")  # the picture before stays
    page.wait(lambda: not page.run("return document.getElementById('preview').srcObject"))


def test_camera_that_is_refused_is_said(page: Page) -> None:
    page.run("navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('Permission denied'); }")
    page["photo"].click()
    page.wait(lambda: "The camera cannot be used (Permission denied)." in page.text("message"))
    page.run("delete navigator.mediaDevices.getUserMedia")


def test_phone_takes_the_photo_where_the_page_may_not(page: Page, tmp_path: Path) -> None:
    page.run(
        "Object.defineProperty(navigator, 'mediaDevices', { value: undefined, configurable: true });"
        "document.getElementById('capture').click = () => { window.asked = true; };"
    )
    page["photo"].click()
    assert page.run("return asked")
    page["capture"].send_keys(str(picture(quarters(), tmp_path / "photo.png")))
    page.wait(lambda: page.shown("view"))
    page.run("delete navigator.mediaDevices")


def test_restart_drops_what_is_being_segmented(page: Page, tmp_path: Path) -> None:
    page.choose(picture(quarters(), tmp_path / "quarters.png"))
    page.run("document.getElementById('segment').click(); document.getElementById('restart').click()")
    assert page.shown("empty")
    assert not page.shown("busy")
    page.choose(picture(255 - quarters(), tmp_path / "negative.png"))
    page.segment()
    assert page.legend() == {"red": "75.0 %", "green": "25.0 %"}


def test_wrong_file_does_not_stop_what_is_being_segmented(page: Page, tmp_path: Path) -> None:
    page.choose(picture(quarters(), tmp_path / "quarters.png"))
    page.run("document.getElementById('segment').click()")
    page.drop("notes.png", b"no picture at all")
    page.wait(lambda: page.shown("message") and page.shown("result"))
    assert not page.shown("busy")


def test_page_fits_a_phone(page: Page, tmp_path: Path) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    for name in ("segment", "restart", "photo", "choose"):
        assert page[name].rect["x"] + page[name].rect["width"] <= 360
    page.choose(picture(quarters(), tmp_path / "quarters.png"))
    page.segment()
    assert page.run("return document.documentElement.scrollWidth") == 360
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_asked_of_another_host(browser: Chrome, site: Site, address: str, channels: Path) -> None:
    browser.get_log("performance")
    app = Page(browser, site("small", channels))
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert f"{address}/small/models/model.onnx" in asked
    assert all(url.startswith(f"{address}/") for url in asked)
    refused = """
    const done = arguments[0];
    addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
    fetch("https://example.org").catch(() => {});
    """
    assert app.browser.execute_async_script(refused) == "connect-src"
