"""The command ``export``, end to end on small data."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from datamodules.images.normalization import IMAGENET_MEAN
from modules.deeplab import SemanticSegmenter
from sextant.errors import InputError
from sextant.export.formats import FORMATS
from sextant.export.formats.format import Runner
from sextant.export.formats.torch_export import TorchExport
from sextant.export.graph import ExportGraph
from train import main

QUIET = ["--data.num_workers=0", "--trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def deeplab(small: Callable[[str], list[str]], folder: Path) -> list[str]:
    """What commands on the small images have in common."""
    return [*small("deeplab_voc"), *QUIET]


@pytest.fixture(scope="module")
def transformer(small: Callable[[str], list[str]], folder: Path) -> list[str]:
    """What commands on the small text have in common."""
    return [*small("transformer_wikitext2"), *QUIET]


@pytest.fixture(scope="module")
def checkpoint(deeplab: list[str]) -> Path:
    """That of a run of two epochs."""
    log = main(["fit", *deeplab, "--trainer.max_epochs=2", "--model.head_lr_factor=10"]).trainer.log_dir
    return Path(log or "").resolve() / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> SemanticSegmenter:
    """The trained model, made without the command."""
    model = SemanticSegmenter("mobilenet_v3_large", num_classes=5).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    return model


@pytest.fixture(scope="module")
def exported(checkpoint: Path, deeplab: list[str], folder: Path) -> tuple[Path, list[Path]]:
    """A trained model's file, and all files under the folder before it was made."""
    before = sorted(folder.rglob("*"))
    main(["export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=float/model.pt2"])
    return folder / "float" / "model.pt2", before


def described(file: Path) -> dict[str, Any]:
    return json.loads(Path(f"{file}.json").read_text())


def validation_images(root: Path) -> list[Tensor]:
    """Red, green, blue uint8 (1, H, W, 3)."""
    names = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    return [
        torch.from_numpy(np.array(Image.open(root / "JPEGImages" / f"{name}.jpg").convert("RGB")))[None]
        for name in names
    ]


def normalized(pixels: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)


def test_file_gives_what_the_trained_model_gives(
    exported: tuple[Path, list[Path]], model: SemanticSegmenter, pascal_voc: Path
) -> None:
    run = FORMATS["torch_export"].load(exported[0])
    for pixels in validation_images(pascal_voc):
        image = normalized(pixels)
        with torch.no_grad():
            assert torch.allclose(run((image,))[0], model(image), atol=1e-3)


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


def test_auxiliary_head_is_not_in_the_file(exported: tuple[Path, list[Path]], model: SemanticSegmenter) -> None:
    program = torch.export.load(exported[0])
    kept = {name: x for name, x in model.network.state_dict().items() if not name.startswith("aux_classifier.")}
    assert set(program.state_dict) == set(kept)
    assert len(kept) < len(model.network.state_dict())


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


def sorted_images(root: Path) -> list[Tensor]:
    """The validation images in the order of their names."""
    names = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    images = dict(zip(names, validation_images(root), strict=True))
    return [images[name] for name in sorted(images)]


@pytest.mark.slow
def test_scripted_file_gives_a_dictionary_as_in_the_tutorial(checkpoint: Path, deeplab: list[str]) -> None:
    with pytest.warns(UserWarning, match="TorchScript is deprecated"):
        main(["export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torchscript", "--output=tutorial.pt"])
    script = torch.jit.load("tutorial.pt")
    output = script(torch.zeros(1, 3, 400, 400))
    assert list(output) == ["out"]
    assert output["out"].shape == (1, 5, 400, 400)


def test_scripted_file_of_bytes_gives_a_dictionary_for_any_size(checkpoint: Path, deeplab: list[str]) -> None:
    main(
        [
            *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torchscript", "--output=pixels.pt"),
            "--preprocessing=normalize",
        ]
    )
    output = torch.jit.load("pixels.pt")(torch.zeros(2, 61, 90, 3, dtype=torch.uint8))
    assert {name: x.shape for name, x in output.items()} == {"out": (2, 5, 61, 90)}


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


@pytest.fixture(scope="module")
def quantized(checkpoint: Path, deeplab: list[str]) -> tuple[Path, list[str]]:
    """A trained model's quantized file, and the warnings of its export."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        main(
            [
                *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=int8/model.pt2"),
                *("--size=[48,64]", "--int8=true", "--calibration_samples=8", "--int8_agreement=0"),
            ]
        )
    return Path("int8/model.pt2").resolve(), [str(warning.message) for warning in caught]


@pytest.mark.slow
def test_quantized_file_is_small_and_its_loss_is_measured(
    quantized: tuple[Path, list[str]], exported: tuple[Path, list[Path]], checkpoint: Path, deeplab: list[str]
) -> None:
    file, said = quantized
    assert file.stat().st_size < 0.35 * exported[0].stat().st_size  # MobileNet has many layers of few weights
    about = described(file)
    assert about["int8"]
    assert any("Calibrated on 8 samples only" in line for line in said)
    measured = about["measured"]
    assert 0 <= measured["val/miou_int8"] <= 1
    plain = main(
        [
            *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=sized.pt2"),
            "--size=[48,64]",
        ]
    )
    assert "val/miou_float" not in described(Path("sized.pt2"))["measured"]
    assert measured["val/miou_float"] == pytest.approx(stretched_miou(plain.model, plain.datamodule), abs=0.01)


def stretched_miou(model: Any, data: Any) -> float:
    """Mean IoU over all validation pixels of the model's scores for images stretched to the file's size."""
    truths, guesses = [], []
    for batch in data.val_dataloader():
        batch = data.transform(batch, training=False)
        size = batch["image"].shape[2:]
        with torch.no_grad():
            small = torch.nn.functional.interpolate(batch["image"], (48, 64), mode="bilinear", antialias=True)
            scores = torch.nn.functional.interpolate(model.eval()(small), size, mode="bilinear")
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


def test_too_few_training_images_for_calibration_are_said(checkpoint: Path, deeplab: list[str]) -> None:
    with pytest.raises(InputError, match=r"has 20 samples to calibrate on.*--calibration_samples=20"):
        main(
            [
                *("export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=few.pt2"),
                *("--size=[48,64]", "--int8=true"),
            ]
        )
    assert not list(Path().glob("*few*"))


def noisy(load: Callable[[TorchExport, Path], Runner]) -> Callable[[TorchExport, Path], Runner]:
    """A runtime that computes something else."""

    def loaded(kind: TorchExport, path: Path) -> Runner:
        run = load(kind, path)
        return lambda inputs: tuple(torch.randn_like(output) for output in run(inputs))

    return loaded


@pytest.mark.parametrize("old", [None, "old"])
def test_file_that_decides_otherwise_is_not_kept(
    transformer: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str | None
) -> None:
    torch.manual_seed(0)
    output = tmp_path / "model.pt2"
    if old:
        output.write_text(old)
    monkeypatch.setattr(TorchExport, "load", noisy(TorchExport.load))
    with pytest.raises(InputError, match=r"in \d+\.\d+% of [\d,]+ decisions, which is less than 99\.900%"):
        main(
            [
                *("export", *transformer, "--random_weights=true", "--format=torch_export", f"--output={output}"),
                *("--overwrite=true", "--samples=4"),
            ]
        )
    assert [path.name for path in tmp_path.iterdir()] == (["model.pt2"] if old else [])
    assert not old or output.read_text() == old


def refusal(arguments: list[str], folder: Path, *more: str) -> str:
    """The message of an export that must not begin, and leaves nothing."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError) as error:
        main(["export", *arguments, *more])
    assert sorted(folder.rglob("*")) == before
    return str(error.value)


def test_export_without_weights_says_how_to_give_some(transformer: list[str], folder: Path) -> None:
    message = refusal(transformer, folder, "--format=torchscript", "--output=x.pt")
    assert "--ckpt_path=best" in message
    assert "--random_weights=true" in message


def test_random_weights_are_said_loudly(transformer: list[str]) -> None:
    arguments = ["export", *transformer, "--random_weights=true", "--format=torchscript", "--samples=4"]
    with pytest.warns(UserWarning, match="RANDOM WEIGHTS"):
        main([*arguments, "--output=random.pt"])
    about = described(Path("random.pt"))
    assert about["random_weights"]
    assert about["checkpoint"] is None


def test_weights_are_random_or_from_a_checkpoint(deeplab: list[str], checkpoint: Path, folder: Path) -> None:
    message = refusal(
        *(deeplab, folder, "--random_weights=true", f"--ckpt_path={checkpoint}"),
        *("--format=torchscript", "--output=x.pt"),
    )
    assert "--random_weights" in message
    assert "--ckpt_path" in message


def test_checkpoint_of_another_workload_is_refused(transformer: list[str], checkpoint: Path, folder: Path) -> None:
    arguments = [f"--ckpt_path={checkpoint}", "--format=torchscript", "--output=x.pt"]
    assert "a checkpoint of another workload" in refusal(transformer, folder, *arguments)


@pytest.mark.parametrize("option", ["--size=[40,40]", "--preprocessing=normalize", "--argmax=true", "--int8=true"])
def test_options_for_images_are_refused_for_text(transformer: list[str], folder: Path, option: str) -> None:
    arguments = ["--random_weights=true", "--format=torch_export", "--output=x.pt2"]
    message = refusal(transformer, folder, *arguments, option)
    assert option.partition("=")[0] in message
    assert "LanguageModel does not" in message


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_formats_of_floats_refuse_to_quantize(deeplab: list[str], folder: Path, format: str) -> None:
    arguments = ["--random_weights=true", f"--format={format}", f"--output=x{FORMATS[format].suffix}", "--int8=true"]
    assert f"{format} files hold floats only" in refusal(deeplab, folder, *arguments)


def test_stretching_needs_a_size(deeplab: list[str], folder: Path) -> None:
    arguments = ["--random_weights=true", "--format=torchscript", "--output=x.pt", "--preprocessing=resize"]
    assert "--size=[400,400]" in refusal(deeplab, folder, *arguments)


def test_missing_libraries_are_said_before_any_work(
    deeplab: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str, *more: Any) -> object:
        return None if name == "onnxruntime" else object()

    monkeypatch.setattr("sextant.export.writing.importlib.util.find_spec", without)
    message = refusal(deeplab, folder, "--random_weights=true", "--format=onnx", "--output=x.onnx")
    assert "needs onnxruntime" in message
    assert "uv run --extra export" in message


def test_interruption_leaves_no_file(transformer: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(kind: TorchExport, graph: ExportGraph, path: Path) -> None:
        path.write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(TorchExport, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(
            [
                *("export", *transformer, "--random_weights=true", "--format=torch_export", "--samples=4"),
                f"--output={tmp_path / 'x.pt2'}",
            ]
        )
    assert not list(tmp_path.iterdir())


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
