"""The app's camera: images, refusals, and buttons that are pressed before it answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.app.page import Page, image, quarters

# npm installs once, and one browser is started
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("app")]

# Cameras that answer when they are told to; each gives what a canvas shows.
CAMERAS = """
window.cameras = [];
navigator.mediaDevices.getUserMedia = () => new Promise((resolve, reject) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 2400, height: 1800 });
  const context = canvas.getContext("2d");
  const draw = () => { context.fillStyle = "rgb(10, 200, 30)"; context.fillRect(0, 0, 2400, 1800); };
  const give = () => { draw(); setInterval(draw, 50); camera.stream = canvas.captureStream(); resolve(camera.stream); };
  const camera = { give, refuse: (name) => reject(new DOMException("No.", name)) };
  cameras.push(camera);
});
"""


def filming(page: Page) -> bool:
    """Whether the camera is on."""
    return page.run("return Boolean(document.getElementById('preview').srcObject)")


def live(page: Page) -> int:
    """How many of the cameras that were given are on."""
    return page.run("return cameras.filter((c) => c.stream?.getTracks().some((t) => t.readyState === 'live')).length")


@pytest.fixture
def cameras(page: Page) -> Iterator[Page]:
    page.run(CAMERAS)
    yield page
    page.run("delete navigator.mediaDevices.getUserMedia")


def test_camera_gives_an_image(page: Page) -> None:
    page["photo"].click()
    page.wait(lambda: page.shown("film"))
    assert page.enabled() == {"choose", "restart"}
    page.wait(lambda: page["shutter"].is_enabled())
    page["shutter"].click()
    page.wait(lambda: page.shown("view"))
    assert not filming(page)
    page.segment()
    assert page.legend()
    page["photo"].click()
    page["cancel"].click()
    assert page.shown("result")  # the image before stays
    assert page.focused() == "photo"
    page.wait(lambda: not filming(page))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [("NotAllowedError", "Allow it"), ("NotFoundError", "Connect one"), ("NotReadableError", "Close other programs")],
)
def test_camera_that_cannot_be_used_is_said(cameras: Page, error: str, remedy: str) -> None:
    cameras["photo"].click()
    cameras.run("cameras[0].refuse(arguments[0])", error)
    cameras.wait(lambda: f"The camera cannot be used (No.). {remedy}" in cameras.text("message"))
    assert cameras.shown("empty")
    assert cameras.focused() == "photo"


def test_image_of_a_camera_is_scaled_down(cameras: Page) -> None:
    cameras["photo"].click()
    cameras.run("cameras[0].give()")
    cameras.wait(lambda: cameras["shutter"].is_enabled())
    cameras["shutter"].click()
    cameras.wait(lambda: cameras.shown("view"))
    assert cameras.text("size") == "2400 x 1800 pixels, scaled down to 1600 x 1200"
    assert cameras.canvas("image").shape == (1200, 1600, 4)
    assert live(cameras) == 0
    cameras.segment()
    assert cameras.legend() == {"green": "100.0 %"}


def test_camera_that_answers_after_it_was_cancelled_is_let_go(cameras: Page) -> None:
    for _ in range(2):
        cameras["photo"].click()
        cameras["cancel"].click()
    cameras.run("cameras[0].give(); cameras[1].refuse('NotAllowedError')")
    cameras.wait(lambda: cameras.run("return Boolean(cameras[0].stream)"))
    cameras.wait(lambda: live(cameras) == 0)
    assert not filming(cameras)
    assert not cameras.shown("message")


def test_camera_that_is_refused_late_does_not_end_the_next(cameras: Page) -> None:
    cameras["photo"].click()
    cameras["cancel"].click()
    cameras["photo"].click()
    cameras.run("cameras[0].refuse('NotAllowedError'); cameras[1].give()")
    cameras.wait(lambda: cameras["shutter"].is_enabled())
    assert cameras.shown("film")
    assert not cameras.shown("message")
    cameras["cancel"].click()
    assert live(cameras) == 0


@pytest.mark.parametrize("button", ["cancel", "restart"])
def test_photo_is_dropped_by_what_is_pressed_after_the_shutter(cameras: Page, tmp_path: Path, button: str) -> None:
    cameras.choose(image(quarters(), tmp_path / "quarters.png"))
    cameras["photo"].click()
    cameras.run("cameras[0].give()")
    cameras.wait(lambda: cameras["shutter"].is_enabled())
    cameras.run(
        """
        const decode = createImageBitmap;
        window.createImageBitmap = async (...all) => {
          window.taken = await decode(...all);
          return taken;
        };
        document.getElementById("shutter").click();
        document.getElementById(arguments[0]).click();
        """,
        button,
    )
    cameras.wait(lambda: cameras.run("return window.taken?.width === 0"))  # its memory was given back
    assert live(cameras) == 0
    if button == "restart":
        assert cameras.shown("empty")
    else:
        assert cameras.text("size") == "32 x 32 pixels"
        assert np.array_equal(cameras.canvas("image")[..., :3], quarters())


def test_phone_takes_the_photo_where_the_page_may_not(page: Page, tmp_path: Path) -> None:
    page.run(
        "Object.defineProperty(navigator, 'mediaDevices', { value: undefined, configurable: true });"
        "document.getElementById('capture').click = () => { window.asked = true; };"
    )
    page["photo"].click()
    assert page.run("return asked")
    page["capture"].send_keys(str(image(quarters(), tmp_path / "photo.png")))
    page.wait(lambda: page.shown("view"))
    page.run("delete navigator.mediaDevices")
