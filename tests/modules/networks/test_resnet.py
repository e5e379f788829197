"""The networks are the paper's."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modules.networks.resnet import resnet
from sextant.errors import InputError


def layer_sizes(network: nn.Module, size: int = 64) -> dict[str, tuple[int, ...]]:
    """Output size (C, H, W) of each child at images of 3 x size x size."""
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            sizes[name] = tuple(output.shape[1:])

        network.get_submodule(name).register_forward_hook(hook)

    for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        note(name)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    return sizes


def test_stock_18_layers_have_the_parameters_and_layer_sizes_of_the_paper() -> None:
    network = resnet(18, num_classes=200, stem="imagenet")
    assert sum(p.numel() for p in network.parameters()) == 11_279_112
    assert layer_sizes(network) == {
        "conv1": (64, 32, 32),
        "maxpool": (64, 16, 16),
        "layer1": (64, 16, 16),
        "layer2": (128, 8, 8),
        "layer3": (256, 4, 4),
        "layer4": (512, 2, 2),
    }


def test_small_stem_keeps_the_resolution() -> None:
    sizes = layer_sizes(resnet(18, num_classes=10, stem="small"))
    assert sizes["conv1"] == sizes["maxpool"] == sizes["layer1"] == (64, 64, 64)
    assert sizes["layer4"] == (512, 8, 8)


def test_weights_from_a_file_replace_all_layers_but_those_of_another_shape(tmp_path: Path) -> None:
    source = resnet(18, num_classes=5, stem="imagenet")
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    network = resnet(18, num_classes=7, stem="small", weights=str(tmp_path / "weights.pt"))
    new, old = network.state_dict(), source.state_dict()
    assert torch.equal(new["layer3.0.conv1.weight"], old["layer3.0.conv1.weight"])
    assert new["fc.weight"].shape == (7, 512)
    assert new["conv1.weight"].shape == (64, 3, 3, 3)


def test_weights_of_a_checkpoint_are_read(tmp_path: Path) -> None:
    source = resnet(18, num_classes=5, stem="imagenet")
    state = {f"network.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "best.ckpt")
    network = resnet(18, num_classes=5, stem="imagenet", weights=str(tmp_path / "best.ckpt"))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), source.parameters(), strict=True))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("IMAGENET1K_V9", r"no weights named 'IMAGENET1K_V9' in torchvision; it has IMAGENET1K_V1"),
        ("nowhere.pt", r"nowhere\.pt: there is no such file"),
        ("other.pt", r"other\.pt: not the weights of this network .* model\.depth"),
    ],
)
def test_wrong_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1)}, "other.pt")
    with pytest.raises(InputError, match=message):
        resnet(18, num_classes=5, stem="imagenet", weights=weights)
