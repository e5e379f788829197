"""Screenshots of the TensorBoard of each workload, after a short run on synthetic data, for the docs.

Run it from the project's folder: ``python -m benchmarks.screenshots --help``.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait
from tensorboard.program import TensorBoard
from tqdm import tqdm

from benchmarks.steps import CONFIGS
from sextant.errors import InputError

PROJECT = CONFIGS.parent
WORKLOADS = tuple(sorted(path.stem for path in (CONFIGS / "synthetic").glob("*.yaml")))
WIDTH = 1540  # pixels of a browser's window
SECONDS = 30.0  # to wait for what a page shows, at the most
DRAWING = 3.0  # seconds that a page's charts and images take once they are there

#: Everything in a page, also within the elements that hide what is in them.
DEEP = """
const deep = (root, selector) => [...root.querySelectorAll("*")].reduce(
  (found, each) => each.shadowRoot ? found.concat(deep(each.shadowRoot, selector)) : found,
  [...root.querySelectorAll(selector)]);
"""
COUNT = DEEP + "return deep(document, arguments[0]).length;"
CLICK = DEEP + "deep(document, arguments[0]).forEach((button) => button.click());"


class Page(NamedTuple):
    """A page of TensorBoard.

    Args:
        address: after the ``#``.
        shown: selects what is there once the page is.
        height: pixels of the window; what is empty at its end is cut off.
        opened: selects what is clicked before.
    """

    address: str
    shown: str
    height: int
    opened: str | None = None


PAGES = {
    "charts": Page("custom_scalars&_smoothingWeight=0", "vz-line-chart2", 1900, ".toggle-matches-button"),
    "images": Page("images", "tf-image-loader", 1500),
    "hparams": Page("hparams", "vaadin-grid-column", 500),
    "text": Page("text", "tf-markdown-view", 1300),
}


def train(workload: str, folder: Path, settings: Sequence[str]) -> None:
    """Train a workload on its synthetic data, as in the project's folder, but with its data and logs in another one.

    Raises:
        InputError: it fails.
    """
    for name in ("train.py", "configs"):
        if not (folder / name).exists():
            (folder / name).symlink_to(PROJECT / name)
    configs = [f"--config=configs/{kind}{workload}.yaml" for kind in ("", "synthetic/")]
    command = [sys.executable, "train.py", "fit", *configs, *settings]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{workload}: training failed. {done.stderr.strip().splitlines()[-1]}")


@contextmanager
def browser() -> Iterator[Chrome]:
    """Headless Chromium that reaches no other host.

    Raises:
        InputError: there is none.
    """
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in found:
        raise InputError("chromium or chromedriver is missing. On Debian: apt-get install chromium chromium-driver.")
    options = ChromeOptions()
    options.binary_location = found[0] or ""
    only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", only_here):
        options.add_argument(flag)
    opened = Chrome(options, Service(found[1]))
    try:
        yield opened
    finally:
        opened.quit()


def open_board(logs: str) -> str:
    """Start a TensorBoard, which ends with this process, and give its address; it shows the name of the folder."""
    board = TensorBoard()
    board.configure(argv=["tensorboard", "--logdir", logs, "--port", "0", "--load_fast", "false"])
    return str(board.launch())


def take(chrome: Chrome, address: str, page: Page) -> Image.Image | None:
    """A screenshot of a page; None where the run has nothing to show on it."""
    chrome.set_window_size(WIDTH, page.height)
    chrome.get("about:blank")  # or else an address that differs after the # alone is not opened anew
    chrome.get(f"{address}#{page.address}")
    try:
        WebDriverWait(chrome, SECONDS).until(lambda _: chrome.execute_script(COUNT, page.shown))
    except TimeoutException:
        return None
    time.sleep(DRAWING)
    if page.opened:
        chrome.execute_script(CLICK, page.opened)
        time.sleep(DRAWING)
    return without_empty_end(Image.open(io.BytesIO(chrome.get_screenshot_as_png())).convert("RGB"))


def without_empty_end(image: Image.Image) -> Image.Image:
    """An image without the rows at its end that are all like the last one, but for a margin."""
    pixels = np.asarray(image)
    other = np.flatnonzero((pixels != pixels[-1]).any((1, 2)))
    return image.crop((0, 0, image.width, min(image.height, int(other[-1]) + 20))) if len(other) else image


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, look, and write ``<workload>_<page>.png``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__)
    add = parser.add_argument
    add("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS, help="the workloads (default: all)")
    add("--pages", nargs="+", choices=PAGES, default=[*PAGES], help="the pages (default: all)")
    add("--output", type=Path, default=PROJECT / "docs" / "images", help="folder of the files (default: docs/images)")
    add("--folder", type=Path, help="a folder with logs/ of these runs, to show them instead of training")
    add("settings", nargs="*", metavar="-- SETTINGS", help="of train.py, such as --trainer.max_epochs=4")
    args = parser.parse_args(arguments)
    output = args.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, browser() as chrome:
        folder = args.folder or Path(temporary)
        for workload in tqdm(args.workloads, unit="workload"):
            if args.folder is None:
                train(workload, folder, args.settings)
            with chdir(folder):
                address = open_board(f"logs/{workload}-synthetic")
                for name in args.pages:
                    if image := take(chrome, address, PAGES[name]):
                        image.quantize(dither=Image.Dither.NONE, kmeans=1).save(output / f"{workload}_{name}.png")


if __name__ == "__main__":
    main()
