"""Quantized files of the command ``export``, and what they lose."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sextant.errors import InputError
from sextant.export.exporter import ExportSettings
from sextant.export.formats import FORMATS
from tests.sextant.export.command.files import described
from train import main


@pytest.fixture(scope="module")
def quantized(checkpoint: Path, deeplab: list[str]) -> tuple[Path, list[str]]:
    """A trained model's quantized file, and the warnings of its export."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        main(
            [
                *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=int8/model.pt2"),
                *("--size=[48,64]", "--int8=true", "--calibration_samples=8"),
            ]
        )
    return Path("int8/model.pt2").resolve(), [str(warning.message) for warning in caught]


@pytest.mark.slow
def test_quantized_file_is_small_and_its_loss_is_measured(
    quantized: tuple[Path, list[str]], exported: tuple[Path, list[Path]], checkpoint: Path, deeplab: list[str]
) -> None:
    file, said = quantized
    # MobileNet has many layers of few weights, so that it is a little more than a quarter.
    assert file.stat().st_size / exported[0].stat().st_size == pytest.approx(0.275, abs=0.02)
    about = described(file)
    assert about["int8"]
    assert any("Calibrated on 8 samples only" in line for line in said)
    measured = about["measured"]
    assert measured["agreement"] >= ExportSettings.int8_agreement
    plain = main(
        [
            *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=sized.pt2"),
            "--size=[48,64]",
        ]
    )
    assert "val/miou_float" not in described(Path("sized.pt2"))["measured"]
    run = FORMATS["torch_export"].load(file)

    def by_file(images: Tensor) -> Tensor:
        return torch.cat([run((image,))[0] for image in images.split(1)])

    for kind, network in (("float", plain.model.eval()), ("int8", by_file)):
        assert measured[f"val/miou_{kind}"] == pytest.approx(stretched_miou(network, plain.datamodule), abs=0.001)


def stretched_miou(network: Callable[[Tensor], Tensor], data: Any) -> float:
    """Mean IoU over all validation pixels of a network's scores for images stretched to the file's size."""
    truths, guesses = [], []
    for batch in data.val_dataloader():
        batch = data.transform(batch, training=False)
        size = batch["image"].shape[2:]
        with torch.no_grad():
            small = torch.nn.functional.interpolate(batch["image"], (48, 64), mode="bilinear", antialias=True)
            scores = torch.nn.functional.interpolate(network(small), size, mode="bilinear")
        counted = batch["label"] != 255
        truths.append(batch["label"][counted])
        guesses.append(scores.argmax(1)[counted])
    truth, guess = torch.cat(truths), torch.cat(guesses)
    fractions = [
        float(((truth == k) & (guess == k)).sum() / either.sum())
        for k in range(5)
        if (either := (truth == k) | (guess == k)).any()
    ]
    return sum(fractions) / len(fractions)


@pytest.mark.slow
def test_too_few_training_images_for_calibration_are_said(checkpoint: Path, deeplab: list[str]) -> None:
    with pytest.raises(InputError, match=r"has 20 samples to calibrate on.*--calibration_samples=20"):
        main(
            [
                *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=few.pt2"),
                *("--size=[48,64]", "--int8=true"),
            ]
        )
    assert not list(Path().glob("*few*"))
