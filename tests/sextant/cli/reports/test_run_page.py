"""A run as one HTML file."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from sextant.errors import InputError
from train import main

LAYOUT = {"Metrics": {"accuracy": ["Multiline", ["(train|val)/accuracy$"]]}, "Empty": {"no": ["Multiline", ["none$"]]}}
RECORD = {
    "name": "tiny<b>",
    "data": {"class": "tests.Points", "synthetic": True},
    "best": {"metric": "val/accuracy", "value": 0.123456},
    "commands": [{"command": "python train.py fit --x='<&>'", "commit": "abc1234", "seconds": 12.3}],
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of a TensorBoard logger: two points of each metric, an image of two steps, a text and a layout."""
    folder = tmp_path / "logs" / "tiny" / "version_0"
    with SummaryWriter(str(folder)) as writer:
        writer.add_custom_scalars(LAYOUT)
        for step in (1, 2):
            for tag in ("train/accuracy", "val/accuracy", "lr-SGD"):
                writer.add_scalar(tag, 0.25 * step, step)
            writer.add_image("val/images", np.full((3, 4, step), 200, np.uint8), step)
        writer.add_text("run/config.yaml", "name: tiny")
        writer.add_text("samples", "<script>alert(1)</script>")
    (folder / "config.yaml").write_text("name: tiny  # <settings>\n")
    (folder / "run.json").write_text(json.dumps(RECORD))
    monkeypatch.chdir(tmp_path)
    return folder


def page(*arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments])
    assert not end.value.code
    return Path("logs/tiny/version_0/report.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def images(self) -> dict[str | None, bytes]:
        sources = [(each["alt"], each["src"] or "") for tag, each in self.found if tag == "img"]
        return {name: base64.b64decode(source.partition("base64,")[2]) for name, source in sources}


@pytest.mark.usefixtures("run")
def test_page_has_the_curves_of_the_layout_and_the_last_images() -> None:
    images = Tags(page("tiny/version_0")).images()
    assert set(images) == {"accuracy", "val/images"}
    chart = ElementTree.fromstring(images["accuracy"])
    lines = [each for each in chart.iter() if each.get("id", "").startswith("line2d")]
    assert len(lines) >= 2
    assert images["val/images"].startswith(b"\x89PNG")
    assert images["val/images"][16:24] == bytes([0, 0, 0, 2, 0, 0, 0, 4])  # width and height of the last one


@pytest.mark.usefixtures("run")
def test_page_has_texts_settings_environment_and_commands_as_they_are() -> None:
    said = page("tiny/version_0")
    for text in ("&lt;script&gt;alert(1)", "name: tiny  # &lt;settings&gt;", "abc1234", "val/accuracy; value 0.1235"):
        assert text in said
    assert "<h1>tiny&lt;b&gt;, version_0</h1>" in said
    assert "python train.py fit --x=&#x27;&lt;&amp;&gt;&#x27;" in said
    assert "Synthetic data" in said
    assert "run/config.yaml" not in said


@pytest.mark.usefixtures("run")
def test_page_needs_no_other_file() -> None:
    tags = Tags(page("logs/tiny/version_0")).found
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    sources = [value for _, each in tags for name, value in each.items() if name in ("src", "href")]
    assert sources
    assert all(str(source).startswith("data:image/") for source in sources)
    assert any("default-src 'none'" in str(each.get("content")) for _, each in tags)


def test_csv_logger_gives_curves_too(run: Path) -> None:
    for file in run.glob("events*"):
        file.unlink()
    (run / "metrics.csv").write_text("epoch,step,train/loss,val/loss\n0,4,0.5,\n0,4,,0.7\n1,8,0.25,\n")
    assert set(Tags(page("tiny/version_0")).images()) == {"train/loss", "val/loss"}


def test_run_without_a_log_of_its_own_has_a_page_without_curves(run: Path) -> None:
    for file in run.glob("events*"):
        file.unlink()
    (run / "run.json").unlink()
    said = page("tiny/version_0")
    assert "<img" not in said
    assert "name: tiny" in said


def test_what_is_no_run_or_damaged_is_an_error(run: Path) -> None:
    with pytest.raises(InputError, match=re.escape("tiny/version_1: there is no config.yaml")):
        main(["report", "tiny/version_1"])
    for record, wrong in (("{", "no JSON"), ("[]", "it is no record"), ('{"commands": ["fit"]}', "it is no record")):
        (run / "run.json").write_text(record)
        with pytest.raises(InputError, match=rf"run\.json: {wrong}"):
            main(["report", "tiny/version_0"])
    assert not (run / "report.html").exists()
    (run / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"report\.html: it cannot be written"):
        main(["report", "tiny/version_0", "--output=logs/tiny/version_0/run.json/report.html"])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.csv", b"epoch,step,train/loss\n0,4,0.5\n0,5,much\n", r"metrics\.csv:3: it is no row of a log"),
        ("metrics.csv", b"epoch,step,train/loss\n0,4,0.5,0.5\n", r"metrics\.csv:2: it is no row of a log"),
        ("metrics.csv", b"epoch,train/loss\n0,0.5\n", r"metrics\.csv:2: it is no row of a log"),
        ("metrics.csv", b"epoch,step\n\xff,4\n", r"metrics\.csv:2: "),
        ("config.yaml", b"name: \xff\n", r"config\.yaml:1: "),
    ],
)
def test_damaged_file_of_a_run_is_named(run: Path, file: str, content: bytes, message: str) -> None:
    for events in run.glob("events*"):
        events.unlink()
    (run / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        main(["report", "tiny/version_0"])
    assert not (run / "report.html").exists()
