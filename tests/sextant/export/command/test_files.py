"""The files that the command ``export`` writes, end to end on small data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images.normalization import IMAGENET_MEAN
from modules.deeplab import SemanticSegmenter
from sextant.export.formats import FORMATS
from tests.sextant.export.command.files import described, normalized, sorted_images, validation_images
from train import main


@pytest.mark.slow
def test_file_gives_what_the_trained_model_gives(
    exported: tuple[Path, list[Path]], model: SemanticSegmenter, pascal_voc: Path
) -> None:
    run = FORMATS["torch_export"].load(exported[0])
    for pixels in validation_images(pascal_voc):
        image = normalized(pixels)
        with torch.no_grad():
            assert torch.allclose(run((image,))[0], model(image), atol=1e-3)


@pytest.mark.slow
def test_description_says_what_the_file_is_and_where_it_is_from(
    exported: tuple[Path, list[Path]], checkpoint: Path
) -> None:
    file, _ = exported
    about = described(file)
    assert about["format"] == "torch_export"
    assert about["file"] == "model.pt2"
    assert about["file_bytes"] == file.stat().st_size
    assert about["model"] == "modules.deeplab.SemanticSegmenter"
    assert about["checkpoint"] == str(checkpoint)
    assert not about["random_weights"]
    assert len(about["classes"]) == 5
    assert about["classes"][0] == "background"
    assert about["inputs"][0]["shape"] == ["batch", 3, "height", "width"]
    assert about["mean"] == IMAGENET_MEAN
    assert about["colors"][1] == [128, 0, 0]
    assert set(about["versions"]) == {"torch"}
    assert about["outputs"][0]["name"] == "out"
    assert about["measured"]["agreement"] >= 0.999
    assert about["measured"]["samples"] == 3
    assert about["measured"]["eager_milliseconds"] > 0


@pytest.mark.slow
def test_auxiliary_head_is_not_in_the_file(exported: tuple[Path, list[Path]], model: SemanticSegmenter) -> None:
    program = torch.export.load(exported[0])
    kept = {name: x for name, x in model.network.state_dict().items() if not name.startswith("aux_classifier.")}
    assert set(program.state_dict) == set(kept)
    assert len(kept) < len(model.network.state_dict())


@pytest.mark.slow
def test_export_writes_the_file_and_its_description_only(exported: tuple[Path, list[Path]], folder: Path) -> None:
    file, before = exported
    made = set(file.parent.rglob("*")) | {file.parent}
    assert {path.name for path in made} == {"float", "model.pt2", "model.pt2.json"}
    runs = sorted(path for path in folder.rglob("*") if "logs" in path.parts)
    assert runs == [path for path in before if "logs" in path.parts]


@pytest.fixture(scope="module")
def masks(checkpoint: Path, deeplab: list[str], folder: Path, pascal_voc: Path) -> Path:
    """What ``predict`` says of the validation images."""
    images = folder / "images"
    images.mkdir()
    for name in (pascal_voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split():
        (images / f"{name}.jpg").write_bytes((pascal_voc / "JPEGImages" / f"{name}.jpg").read_bytes())
    main(
        [
            *("predict", *deeplab, f"--ckpt_path={checkpoint}", f"--data.images={images}"),
            *("--settings_from=checkpoint", "--predictions.output=out.csv"),
        ]
    )
    return folder / "segmentations" / "masks"


@pytest.mark.slow
def test_file_of_bytes_and_labels_gives_the_masks_of_predict(
    checkpoint: Path, deeplab: list[str], masks: Path, pascal_voc: Path
) -> None:
    main(
        [
            *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torchscript", "--output=bytes/model.pt"),
            *("--preprocessing=normalize", "--argmax=true"),
        ]
    )
    run = FORMATS["torchscript"].load(Path("bytes/model.pt"))
    equal = total = 0
    for name, pixels in zip(sorted(masks.iterdir()), sorted_images(pascal_voc), strict=True):
        mask = torch.from_numpy(np.array(Image.open(name)))
        (labels,) = run((pixels,))
        assert labels.dtype == torch.uint8
        assert labels.shape == (1, *mask.shape)
        equal, total = equal + int((labels[0] == mask).sum()), total + mask.numel()
    assert equal >= 0.999 * total
    about = described(Path("bytes/model.pt"))
    assert about["inputs"][0]["shape"] == ["batch", "height", "width", 3]
    assert about["preprocessing"]["included"] == "normalize"


@pytest.mark.slow
def test_scripted_file_gives_a_dictionary_as_in_the_tutorial(checkpoint: Path, deeplab: list[str]) -> None:
    with pytest.warns(UserWarning, match="TorchScript is deprecated"):
        main(["export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torchscript", "--output=tutorial.pt"])
    script = torch.jit.load("tutorial.pt")
    output = script(torch.zeros(1, 3, 400, 400))
    assert list(output) == ["out"]
    assert output["out"].shape == (1, 5, 400, 400)


@pytest.mark.slow
def test_scripted_file_of_bytes_gives_a_dictionary_for_any_size(checkpoint: Path, deeplab: list[str]) -> None:
    main(
        [
            *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torchscript", "--output=pixels.pt"),
            "--preprocessing=normalize",
        ]
    )
    output = torch.jit.load("pixels.pt")(torch.zeros(2, 61, 90, 3, dtype=torch.uint8))
    assert {name: x.shape for name, x in output.items()} == {"out": (2, 5, 61, 90)}


@pytest.mark.slow
def test_stretching_file_takes_images_of_any_size(
    checkpoint: Path, deeplab: list[str], model: SemanticSegmenter, pascal_voc: Path
) -> None:
    main(
        [
            *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=any.pt2"),
            *("--preprocessing=resize", "--size=[48,64]"),
        ]
    )
    run = FORMATS["torch_export"].load(Path("any.pt2"))
    for pixels in validation_images(pascal_voc):
        stretched = torch.nn.functional.interpolate(normalized(pixels), (48, 64), mode="bilinear", antialias=True)
        with torch.no_grad():
            assert torch.allclose(run((pixels,))[0], model(stretched), atol=1e-3)


def test_random_weights_are_said_loudly(transformer: list[str]) -> None:
    arguments = ["export", *transformer, "--random_weights=true", "--format=torchscript", "--samples=4"]
    with pytest.warns(UserWarning, match="RANDOM WEIGHTS"):
        main([*arguments, "--output=random.pt"])
    about = described(Path("random.pt"))
    assert about["random_weights"]
    assert about["checkpoint"] is None


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    said = capsys.readouterr().out
    for option in (
        *("format", "output", "ckpt_path", "random_weights", "size", "preprocessing", "argmax"),
        *("int8", "int8_agreement", "calibration_samples", "samples", "overwrite"),
    ):
        assert f"--{option}" in said
    assert "--model" in said
    assert "quantize weights and activations statically" in " ".join(said.split())
