"""What a person does with the app's page, for tests."""

import base64
from collections.abc import Callable
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
        WebDriverWait(self.browser, seconds, poll_frequency=0.02).until(
            lambda _: condition(), f"status: {self.text('status')}; message: {self.text('message')}"
        )

    def shown(self, name: str) -> bool:
        return self[name].is_displayed()

    def text(self, name: str) -> str:
        return self.run("return document.getElementById(arguments[0]).textContent.trim()", name)

    def enabled(self) -> set[str]:
        """Which buttons can be pressed."""
        return {name for name in ("photo", "choose", "segment", "restart") if self[name].is_enabled()}

    def choose(self, path: Path) -> None:
        """Choose a picture from the gallery, and wait until it is shown or refused."""
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

    def canvas(self, name: str) -> NDArray[np.uint8]:
        """The RGBA values of a canvas, (H, W, 4)."""
        url = self.run("return document.getElementById(arguments[0]).toDataURL()", name)
        return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))

    def legend(self) -> dict[str, str]:
        """The share of each class, as it is written."""
        lines = self["legend"].find_elements("tag name", "li")
        return {line.find_element("class name", "name").text: line.text.splitlines()[-1] for line in lines}
