"""What a person does with the app's page, for tests."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

DROP = """
const bytes = Uint8Array.from(atob(arguments[1]), (character) => character.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], arguments[0]));
const options = { dataTransfer, bubbles: true, cancelable: true };
for (const type of ["dragover", "drop"]) document.getElementById("stage").dispatchEvent(new DragEvent(type, options));
"""


@contextmanager
def first_runs(browser: Chrome, script: str) -> Iterator[None]:
    """Run a script before those of the pages that are opened meanwhile."""
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def image(pixels: NDArray[np.uint8] | Image.Image, path: Path, **options: Any) -> Path:
    """Write an image file."""
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
    return path


def quarters() -> NDArray[np.uint8]:
    """32 x 32 pixels: one half green, a quarter each red and blue."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16, 1] = pixels[:16, 16:, 0] = pixels[16:, 16:, 2] = 200
    return pixels


class Page:
    """The app, open in a browser."""

    def __init__(self, browser: Chrome, address: str) -> None:
        self.browser = browser
        browser.get(address)
        self.wait(lambda: not self.shown("loading"))

    def __getitem__(self, name: str) -> WebElement:
        return self.browser.find_element("id", name)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], object], seconds: float = 60) -> None:
        said = "; ".join(f"{name}: {self.text(name)}" for name in ("status", "failure", "message"))
        WebDriverWait(self.browser, seconds, poll_frequency=0.02).until(lambda _: condition(), said)

    def shown(self, name: str) -> bool:
        return self[name].is_displayed()

    def text(self, name: str) -> str:
        return self.run("return document.getElementById(arguments[0]).textContent.trim()", name)

    def enabled(self) -> set[str]:
        """Which buttons can be pressed."""
        return {name for name in ("photo", "choose", "segment", "restart") if self[name].is_enabled()}

    def choose(self, path: Path) -> None:
        """Choose an image from the gallery, and wait until it is shown or refused."""
        self.run("document.getElementById('size').textContent = ''")
        self["file"].send_keys(str(path))
        self.wait(lambda: self.text("size") or self.text("message"))

    def drop(self, name: str, content: bytes) -> None:
        self.run(DROP, name, base64.b64encode(content).decode())

    def segment(self) -> None:
        self["segment"].click()
        self.wait(lambda: not self.shown("busy"))

    def restart(self) -> None:
        self["restart"].click()

    def focused(self) -> str:
        """What the keyboard goes to."""
        return self.run("return document.activeElement.id")

    def seen(self, name: str) -> bool:
        """Whether all of an element lies within the window."""
        box = self.run("return document.getElementById(arguments[0]).getBoundingClientRect().toJSON()", name)
        return 0 <= box["top"] < box["bottom"] <= self.run("return innerHeight")

    def screenshot(self, name: str) -> Image.Image:
        """An element as it is painted."""
        return Image.open(BytesIO(self[name].screenshot_as_png)).convert("RGB")

    def canvas(self, name: str) -> NDArray[np.uint8]:
        """The RGBA values of a canvas, (H, W, 4)."""
        url = self.run("return document.getElementById(arguments[0]).toDataURL()", name)
        return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))

    def all(self, kind: str) -> list[WebElement]:
        """The elements of a class."""
        return self.browser.find_elements("class name", kind)

    def legend(self) -> dict[str, str]:
        """The share of each class, as it is written."""
        lines = self["legend"].find_elements("tag name", "li")
        return {line.find_element("class name", "name").text: line.text.splitlines()[-1] for line in lines}
