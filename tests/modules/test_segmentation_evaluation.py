"""Whole images, windows, scales and mirror images."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.segmentation_evaluation import NETWORK_BYTES, PROBABILITY_BYTES, Evaluation
from sextant.errors import InputError


@pytest.fixture
def pointwise() -> nn.Module:
    """A network that looks at single pixels, so that windows change nothing."""
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 1)


def whole(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    return network(image).softmax(1)


@pytest.mark.parametrize("stride", [None, 1, 20, 32])
@pytest.mark.parametrize("size", [(70, 45), (32, 33), (5, 100), (20, 10)])
def test_windows_see_every_pixel_of_an_image_of_any_size(
    pointwise: nn.Module, size: tuple[int, int], stride: int | None
) -> None:
    image = torch.randn(1, 3, *size)
    found = Evaluation(window=32, stride=stride).log_probabilities(pointwise, image)
    assert torch.allclose(found.exp(), whole(pointwise, image), atol=1e-5)


def test_network_is_given_no_more_than_a_window() -> None:
    seen = []

    def network(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape[-2:]))
        return image

    Evaluation(window=32).log_probabilities(network, torch.randn(1, 3, 50, 80))
    assert set(seen) == {(32, 32)}
    assert len(seen) == 2 * 4  # 0 and 18; 0, 22, 44 and 48


def test_windows_are_averaged_where_they_overlap() -> None:
    constants = iter(torch.tensor([[[[0.0]], [[1.0]]], [[[2.0]], [[0.0]]]])[:, None])

    def network(image: Tensor) -> Tensor:
        return next(constants).expand(1, 2, *image.shape[-2:])

    found = Evaluation(window=32, stride=32).log_probabilities(network, torch.zeros(1, 3, 32, 40)).exp()[0, 0, 0]
    first, second = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).softmax(1)[:, 0]
    assert torch.allclose(found[:8], first.expand(8))
    assert torch.allclose(found[8:32], (0.5 * (first + second)).expand(24))
    assert torch.allclose(found[32:], second.expand(8))


def test_mirror_image_is_turned_back_and_averaged() -> None:
    torch.manual_seed(0)
    network, image = nn.Conv2d(3, 4, 3, padding=1), torch.randn(2, 3, 6, 9)
    found = Evaluation(flip=True).log_probabilities(network, image).exp()
    expected = (whole(network, image) + whole(network, image.flip(-1)).flip(-1)) / 2
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, whole(network, image), atol=1e-3)


def test_scales_are_averaged_at_the_images_own_size(pointwise: nn.Module) -> None:
    image = torch.randn(1, 3, 12, 10)
    found = Evaluation(scales=[0.5, 1.0]).log_probabilities(pointwise, image).exp()
    half = F.interpolate(image, (6, 5), mode="bilinear", antialias=True)
    grown = F.interpolate(whole(pointwise, half), (12, 10), mode="bilinear")
    assert torch.allclose(found, (grown + whole(pointwise, image)) / 2, atol=1e-6)


def test_image_too_large_for_memory_is_refused_before_and_fits_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.segmentation_evaluation.available_memory", lambda device: 5e9)
    image = torch.zeros(1, 1, 1).expand(1, 3, 3000, 4000)
    with pytest.raises(InputError, match=r"4000x3000 pixels takes about .* 5\.0 GB are free.*evaluation\.window=513"):
        Evaluation().need_memory(image, 21)
    Evaluation(window=513).need_memory(image, 21)
    with pytest.raises(InputError, match=r"smaller --model\.evaluation\.scales"):
        Evaluation(window=513, scales=[2.0]).need_memory(image, 21)


@pytest.mark.parametrize(("scales", "pixels"), [([1.0], 100 * 200), ([2.0, 0.5], 4 * 100 * 200), ([0.5], 100 * 200)])
def test_memory_is_that_of_the_largest_scale(monkeypatch: pytest.MonkeyPatch, scales: list[float], pixels: int) -> None:
    at_once = pixels * min(1, max(scales)) ** 2  # of the network; the output has the image's size at least
    needed = at_once * NETWORK_BYTES + pixels * 5 * PROBABILITY_BYTES
    monkeypatch.setattr("modules.segmentation_evaluation.available_memory", lambda device: needed)
    Evaluation(scales=scales).need_memory(torch.zeros(1, 3, 100, 200), 5)
    monkeypatch.setattr("modules.segmentation_evaluation.available_memory", lambda device: needed - 1)
    with pytest.raises(InputError, match="An image of 200x100 pixels"):
        Evaluation(scales=scales).need_memory(torch.zeros(1, 3, 100, 200), 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 8}, "window is 8"),
        ({"stride": 8}, "give model.evaluation.window too"),
        ({"window": 64, "stride": 65}, "stride is 65; it must be between 1 and 64"),
        ({"scales": []}, r"scales is \[\]"),
        ({"scales": [1.0, 0.0]}, "scales above 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Evaluation(**settings)
