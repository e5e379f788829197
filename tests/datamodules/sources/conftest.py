"""The published archive that downloads and extractions begin with."""

from pathlib import Path

import pytest

from tests.datamodules.sources.archives import CONTENT, make_zip


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The archive on its server."""
    return make_zip(tmp_path / "server" / "data.zip", CONTENT)
