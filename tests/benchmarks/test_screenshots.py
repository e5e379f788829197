"""Screenshots of a TensorBoard."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from benchmarks.screenshots import WIDTH, main, without_empty_end
from tests.app.conftest import require_programs


def test_empty_rows_at_the_end_are_cut_off_but_for_a_margin() -> None:
    pixels = np.full((300, 8, 3), 245, np.uint8)
    pixels[99, 3] = 0
    assert without_empty_end(Image.fromarray(pixels)).size == (8, 119)
    assert without_empty_end(Image.fromarray(pixels[100:])).size == (8, 200)


@pytest.mark.slow
def test_pages_with_something_to_show_are_written(tmp_path: Path) -> None:
    require_programs("chromium", "chromedriver")
    with SummaryWriter(str(tmp_path / "logs" / "dlrm_criteo-synthetic" / "version_0")) as writer:
        writer.add_scalar("val/loss", 1.0, 1)
        writer.add_custom_scalars({"Losses": {"loss": ["Multiline", ["val/loss$"]]}})
    arguments = ("--folder", str(tmp_path), "--output", str(tmp_path / "out"))
    main([*arguments, "--workloads", "dlrm_criteo", "--pages", "charts", "images"])
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == "dlrm_criteo_charts.png"
    with Image.open(file) as image:
        assert image.width == WIDTH
        colors = {tuple(color) for color in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    assert len(colors) > 20
