"""Settings of the preprocessing are checked, and choose where the answers come from."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from datamodules.vqa.preprocessing import Preprocessing
from sextant.errors import InputError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_count": 0}, r"data\.preprocessing\.min_count is 0; it must be 1"),
        ({"image_size": -1}, r"data\.preprocessing\.image_size is -1; it must be 1"),
        ({"max_question_length": 2}, r"data\.preprocessing\.max_question_length is 2; it must be 3"),
    ],
)
def test_setting_out_of_range_is_an_input_error_that_names_it(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocessing(**settings)


def test_vocabulary_is_that_of_the_file_or_else_of_the_training_answers(tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_text("<unk>\nblue\n")
    training = [["red"] * 10, ["red"] * 10, ["blue"] * 10]
    assert Preprocessing(answers=str(tmp_path / "answers.txt")).vocabulary(training).answers == ["<unk>", "blue"]
    assert Preprocessing().vocabulary(training).answers == ["<unk>", "red"]
    assert Preprocessing(min_count=1).vocabulary(training).answers == ["<unk>", "red", "blue"]


def test_images_are_resized_by_bicubic_interpolation_with_antialiasing() -> None:
    images = [torch.randint(256, (3, *size), dtype=torch.uint8) for size in ((20, 31), (9, 8))]
    resized = Preprocessing(image_size=8).resized(images)
    for image, found in zip(images, resized, strict=True):
        expected = F.interpolate(image[None].float(), (8, 8), mode="bicubic", antialias=True)[0]
        assert torch.allclose(255 * found, expected.round().clamp(0, 255), atol=1.01)
        assert (255 * found - expected).abs().mean() < 0.6  # rounding alone
