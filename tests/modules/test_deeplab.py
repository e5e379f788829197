"""Segmentation's commands, end to end on a few small images."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datamodules.pascal_voc import MEAN, STD
from datamodules.synthetic import pascal_voc as synthetic_set
from modules.deeplab import SemanticSegmenter
from sextant.errors import InputError
from tests.launch import finish, start_ranks

CLASSES = ["background", *synthetic_set.SHAPES]


@pytest.fixture(scope="module")
def words(small: Callable[[str], list[str]]) -> list[str]:
    """What all commands have in common."""
    return [
        *(*small("deeplab_voc"), "--data.num_workers=0", "--data.batch_size=4"),
        *("--trainer.max_epochs=2", "--trainer.log_every_n_steps=2", "--trainer.enable_progress_bar=false"),
    ]


@pytest.fixture(scope="module")
def model(trained: Path) -> SemanticSegmenter:
    """The trained model."""
    model = SemanticSegmenter("mobilenet_v3_large", num_classes=5).eval()
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    return model


def probabilities(model: SemanticSegmenter, file: Path) -> torch.Tensor:
    """The probabilities of an image's classes, read and normalized without the DataModule, (C, H, W)."""
    pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1) / 255
    image = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        return model(image[None])[0].softmax(0)


def measure(model: SemanticSegmenter, root: Path) -> dict[str, float]:
    """Loss, mean IoU and pixel accuracy of the validation list, image by image, as sums over sets of pixels."""
    nats, truths, guesses = 0.0, [], []
    for name in (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split():
        label = torch.from_numpy(np.array(Image.open(root / "SegmentationClass" / f"{name}.png"))).long()
        found = probabilities(model, root / "JPEGImages" / f"{name}.jpg")
        nats += F.nll_loss(found.log()[None], label[None], ignore_index=255, reduction="sum").item()
        truths.append(label[label != 255])
        guesses.append(found.argmax(0)[label != 255])
    truth, guess = torch.cat(truths), torch.cat(guesses)
    overlaps = [
        (((truth == k) & (guess == k)).sum() / either.sum()).item()
        for k in range(5)
        if (either := (truth == k) | (guess == k)).any()
    ]
    return {
        "loss": nats / len(truth),
        "miou": sum(overlaps) / len(overlaps),
        "pixel_accuracy": (truth == guess).float().mean().item(),
    }


def test_tensorboard_has_losses_scores_table_images_and_confusion(trained: Path) -> None:
    events = EventAccumulator(str(trained), size_guidance={"tensors": 0, "images": 0}).Reload()
    for name in ("train/loss", "val/loss", "val/miou", "val/pixel_accuracy", "val/iou/background"):
        assert [point.step for point in events.Scalars(name)] == [1, 2], name
    for name in ("train/loss_step", "gradient_norm", "throughput/samples_per_second"):
        assert [point.step for point in events.Scalars(name)] == [1, 3, 5, 7, 9], name
    for name in ("val/images", "val/confusion"):
        assert [image.step for image in events.Images(name)] == [1, 2], name
    table = events.Tensors("val/iou/text_summary")[-1].tensor_proto.string_val[0].decode()
    overlap = events.Scalars("val/iou/background")[-1].value
    assert f"| background | {overlap:.4f} |" in table
    rates = [tag for tag in events.Tags()["scalars"] if tag.startswith("lr-SGD")]
    first = sorted(events.Scalars(tag)[0].value for tag in rates if "momentum" not in tag)
    assert first == pytest.approx([0.001 * 0.9**0.9, 0.01 * 0.9**0.9, 0.01 * 0.9**0.9])  # the second of ten steps


def test_measured_scores_are_those_of_all_pixels_of_all_images(
    trained: Path, run: Any, model: SemanticSegmenter, pascal_voc: Path
) -> None:
    measured = run("test", "--ckpt_path=best").trainer.callback_metrics
    for name, value in measure(model, pascal_voc).items():
        assert measured[f"test/{name}"].item() == pytest.approx(value, rel=1e-4), name


@pytest.mark.slow
def test_two_processes_measure_each_image_once(
    trained: Path, words: list[str], model: SemanticSegmenter, pascal_voc: Path, tmp_path: Path
) -> None:
    """Three images on two processes: the second one has an image that only pads its batch."""
    log = tmp_path / "log"
    checkpoint = trained / "checkpoints" / "best.ckpt"
    logs = f"--trainer.logger.save_dir={trained.parent.parent}"
    finish(start_ranks(["validate", *words, f"--ckpt_path={checkpoint}", logs], tmp_path, 2, log), log)
    events = EventAccumulator(str(trained)).Reload()
    for name, value in measure(model, pascal_voc).items():
        assert events.Scalars(f"val/{name}")[-1].value == pytest.approx(value, rel=1e-4), name


def test_images_become_masks_overlays_and_fractions_of_their_pixels(
    trained: Path, run: Any, model: SemanticSegmenter, pascal_voc: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    with Image.open(next((pascal_voc / "JPEGImages").iterdir())) as image:
        image.save(images / "small.png")
        image.resize((301, 97)).save(images / "wide.png")
    table = tmp_path / "fractions.csv"
    run(
        *("predict", "--ckpt_path=best", "--data.root=nowhere", f"--data.images={images}"),
        *(f"--segmentations.folder={tmp_path / 'out'}", f"--predictions.output={table}"),
    )
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(images / "small.png"), str(images / "wide.png")]
    assert list(rows[0]) == ["file", "width", "height", *(f"fraction/{name}" for name in CLASSES)]
    for row, name in zip(rows, ("small", "wide"), strict=True):
        expected = probabilities(model, images / f"{name}.png").argmax(0).numpy()
        mask = Image.open(tmp_path / "out" / "masks" / f"{name}.png")
        assert mask.mode == "P"
        assert (np.asarray(mask) == expected).mean() > 0.999  # but for pixels that are undecided
        assert (row["width"], row["height"]) == tuple(map(str, mask.size))
        fractions = [float(row[f"fraction/{name}"]) for name in CLASSES]
        assert fractions == pytest.approx([(np.asarray(mask) == k).mean() for k in range(5)], abs=1e-6)
        for kind in ("colored", "overlays"):
            with Image.open(tmp_path / "out" / kind / f"{name}.png") as image:
                assert (image.mode, image.size) == ("RGB", mask.size)
    assert not list((tmp_path / "out").rglob(".*"))


def test_one_image_is_predicted_in_windows_with_chosen_colors(
    trained: Path, run: Any, pascal_voc: Path, tmp_path: Path
) -> None:
    image = next((pascal_voc / "JPEGImages").iterdir())
    words = ["--ckpt_path=best", f"--data.images={image}", f"--predictions.output={tmp_path / 'fractions.csv'}"]
    words += ["--model.evaluation.window=32", "--model.evaluation.scales=[0.75,1.25]", "--model.evaluation.flip=true"]
    colors = "{background: '#010203', disc: red}"
    run("predict", *words, f"--segmentations.folder={tmp_path}", f"--segmentations.colors={colors}")
    mask = np.asarray(Image.open(tmp_path / "masks" / f"{image.stem}.png"))
    colored = np.asarray(Image.open(tmp_path / "colored" / f"{image.stem}.png"))
    for label, color in ((0, (1, 2, 3)), (1, (255, 0, 0)), (2, (0, 0, 0))):
        assert (colored[mask == label] == color).all()


def test_images_of_the_test_list_are_predicted_without_masks(trained: Path, run: Any, tmp_path: Path) -> None:
    table = tmp_path / "fractions.csv"
    run("predict", "--ckpt_path=best", f"--segmentations.folder={tmp_path}", f"--predictions.output={table}")
    assert len(table.read_text().splitlines()) == 1 + 3


def test_image_too_large_for_memory_is_refused_with_the_setting_that_helps(
    trained: Path, run: Any, pascal_voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.segmentation_evaluation.available_memory", lambda device: 1e5)
    image = next((pascal_voc / "JPEGImages").iterdir())
    with pytest.raises(InputError, match=r"--model\.evaluation\.window=513"):
        run("predict", "--ckpt_path=best", f"--data.images={image}")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model.num_classes=4", r"model\.num_classes is 4, but the data has 5 labels \(background, disc, \.\.\.\)"),
        ("--model.num_classes=1", r"model\.num_classes is 1"),
        ("--model.auxiliary=-1", r"model\.auxiliary is -1"),
        ("--model.head_lr_factor=0", r"model\.head_lr_factor is 0"),
        ("--data.batch_size=1", r"batch of one image has nothing to normalize over.*--data\.batch_size"),
        ("--data.augmentation.crop_size=0", r"data\.augmentation\.crop_size is 0"),
        ("--data.augmentation.scales=[2.0,0.5]", r"data\.augmentation\.scales is \[2\.0, 0\.5\]"),
        ("--data.augmentation.color_jitter=2", r"data\.augmentation\.color_jitter is 2"),
        ("--data.lists.train=no_such", r"no_such\.txt: there is no such list\. There are train, val"),
        ("--data.classes=none.txt", r"none\.txt: there is no such file \(data\.classes\)"),
        ("--data.root=nowhere", r"nowhere: there is no such folder \(data\.root\).*--data\.synthetic=true"),
    ],
)
def test_settings_that_make_no_sense_are_named(run: Any, word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("fit", word)


@pytest.mark.parametrize(
    ("colors", "message"),
    [("{cat: red}", "no class 'cat' to color; there are background, disc"), ("{disc: rot}", "'rot', the color of")],
)
def test_colors_that_are_none_are_named(trained: Path, run: Any, colors: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run(
            "predict",
            "--ckpt_path=best",
            f"--segmentations.folder={tmp_path}",
            f"--segmentations.colors={colors}",
        )


def test_checkpoint_of_other_classes_is_refused(trained: Path, run: Any, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(["background", "circle", *CLASSES[2:]]))
    with pytest.raises(InputError, match="other data: its labels have 'disc' at 1 where the data has 'circle'"):
        run("validate", "--ckpt_path=best", f"--data.classes={tmp_path / 'classes.txt'}", "--settings_from=command")


def test_confusion_has_a_row_for_each_true_class() -> None:
    torch.manual_seed(0)
    model = SemanticSegmenter("mobilenet_v3_large", num_classes=3).eval()
    label = torch.randint(0, 3, (2, 33, 33))
    label[0] = 2
    prediction = model.step({"image": torch.randn(2, 3, 33, 33), "label": label}, model.val_metrics)["prediction"]
    model.epoch_values(model.val_metrics.compute(), "val")
    counts = [[((label == true) & (prediction == taken)).sum().item() for taken in range(3)] for true in range(3)]
    assert counts != np.transpose(counts).tolist()
    assert model.confusion.tolist() == counts


def test_pixels_that_do_not_count_change_nothing() -> None:
    torch.manual_seed(0)
    model = SemanticSegmenter("mobilenet_v3_large", num_classes=3, auxiliary=0.5)
    model.network.eval()  # the same features again and again
    image, label = torch.randn(2, 3, 33, 33), torch.randint(0, 3, (2, 33, 33))
    label[:, :10] = 255
    loss = model.step({"image": image, "label": label}, model.train_metrics)["loss"]
    with torch.no_grad():
        heads = model.network(image)
    parts = {h: F.cross_entropy(v.movedim(1, -1)[label != 255], label[label != 255]) for h, v in heads.items()}
    assert loss.item() == pytest.approx((parts["out"] + 0.5 * parts["aux"]).item(), rel=1e-5)
    nothing = model.step({"image": image, "label": torch.full_like(label, 255)}, model.train_metrics)
    assert nothing["loss"].item() == 0
