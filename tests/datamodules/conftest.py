"""Speech in shards, and the Hugging Face libraries without a network."""

import socket
from pathlib import Path

import pytest


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hugging Face libraries without network and with nothing downloaded before."""
    import datasets
    import huggingface_hub.constants

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"{address} was asked for over the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="session")
def shards(librispeech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three shards of the small speech data's training subset."""
    from datamodules.speech.write_shards import write_shards
    from tests.datamodules.speech.shard_files import SHARDS

    output = tmp_path_factory.mktemp("shards") / "small"
    write_shards(librispeech / "train-small", output, SHARDS, 16000)
    return output
