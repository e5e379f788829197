"""Pretrained weights that cannot be had are one error that says why."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from modules.networks.pretrained import read_weights
from sextant.errors import InputError


def refuse(*args: Any, **options: Any) -> None:
    raise URLError("no route to host")


@pytest.mark.parametrize("network", ["resnet18", "mobilenet_v3_large", "deeplabv3_resnet50"])
def test_weights_that_cannot_be_downloaded_are_an_error(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(InputError, match=r"^model\.weights: DEFAULT could not be downloaded \(.*no route to host"):
        read_weights(network, "DEFAULT", "model.weights")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "may be damaged"),
        (bytes(range(256)) * 40, "may be damaged"),
        (b"PK\x03\x04" + bytes(400), "may be damaged"),
        ([1, 2], "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
        ({"state_dict": {"a": 3}}, "holds no state dict"),
    ],
)
def test_file_without_weights_is_an_error(content: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(InputError, match=rf"weights\.pt: .*{message}"):
        read_weights("resnet18", str(file), "model.weights")


def test_names_are_those_of_the_network(tmp_path: Path) -> None:
    for content in ({"network.fc.bias": torch.ones(2)}, {"fc.bias": torch.ones(2)}):
        for whole in (content, {"state_dict": content}, {"model": content}):
            torch.save(whole, tmp_path / "weights.pt")
            assert list(read_weights("resnet18", str(tmp_path / "weights.pt"), "model.weights")) == ["fc.bias"]
