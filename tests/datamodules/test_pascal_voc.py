"""Pascal VOC is read as it was published, other sets in its layout too, and whatever is wrong is named."""

import hashlib
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images.random_crop import RandomCrop
from datamodules.images.segmentation import Pair
from datamodules.pascal_voc import ARCHIVE, CLASSES, MEAN, STD, TOP, Lists, PascalVOC
from datamodules.sources.archive import Archive
from datamodules.synthetic import pascal_voc as synthetic_set
from sextant.errors import InputError
from tests.datamodules.images.masks import save_mask
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.filesystem import cut_in_half, listing, snapshot


@pytest.fixture
def root(pascal_voc: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may damage."""
    return shutil.copytree(pascal_voc, tmp_path / "data" / TOP)


@pytest.fixture
def archive(pascal_voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The archive on its server, in the place of the published one."""
    path = tmp_path / "server" / Path(ARCHIVE.url).name
    path.parent.mkdir()
    with tarfile.open(path, "w") as file:
        file.add(pascal_voc, TOP)
    content = path.read_bytes()
    pinned = Archive(path.as_uri(), len(content), md5=hashlib.md5(content).hexdigest())
    monkeypatch.setattr("datamodules.pascal_voc.ARCHIVE", pinned)
    return pinned


def data_at(root: Path, **settings: Any) -> PascalVOC:
    defaults: dict[str, Any] = {"root": str(root), "cache": str(root.parent / "cache"), "batch_size": 4}
    return PascalVOC(**defaults | settings)


def prepared(root: Path, stage: str, **settings: Any) -> PascalVOC:
    data = data_at(root, **settings)
    data.prepare_data()
    data.setup(stage)
    return data


def pairs_of(loader: Any) -> list[Pair]:
    """The images and masks that a loader reads."""
    return loader.dataset.pairs


def names(loader: Any) -> list[str]:
    return [pair.image.stem for pair in pairs_of(loader)]


def lists(root: Path) -> Path:
    return root / "ImageSets" / "Segmentation"


# Getting the data


def test_missing_folder_is_named_with_every_way_to_get_data(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        prepared(tmp_path / "none", "fit")
    for needed in (str(tmp_path / "none"), ARCHIVE.url, "--data.download=true", "--data.root", "--data.synthetic=true"):
        assert needed in str(error.value)
    assert listing(tmp_path) == []


def test_data_set_is_downloaded_verified_and_extracted(archive: Archive, pascal_voc: Path, tmp_path: Path) -> None:
    root = tmp_path / "data" / TOP
    data = prepared(root, "fit", download=True)
    assert listing(root) == listing(pascal_voc)
    assert len(names(data.train_dataloader())) == 20


@pytest.mark.usefixtures("archive")
def test_half_an_archive_is_refused_and_replaced_when_downloading_is_allowed(tmp_path: Path, pascal_voc: Path) -> None:
    root = tmp_path / "data" / TOP
    half = root.parent / Path(ARCHIVE.url).name
    half.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "server" / half.name, half)
    cut_in_half(half)
    with pytest.raises(InputError, match=rf"{half.name}: not the published archive.*--data\.download=true"):
        data_at(root).prepare_data()
    data_at(root, download=True).prepare_data()
    assert listing(root) == listing(pascal_voc)


def test_folder_is_read_and_never_written_to(root: Path) -> None:
    before = snapshot(root)
    for stage in ("fit", "validate", "test", "predict"):
        prepared(root, stage)
    assert snapshot(root) == before


def test_synthetic_data_is_made_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_set.make, "__defaults__", (4, 2, (40, 48), 0))
    data = prepared(tmp_path / "nowhere", "fit", synthetic=True)
    assert data.synthetic
    assert data.data_spec().labels == ("background", *synthetic_set.SHAPES)
    assert [len(names(loader)) for loader in (data.train_dataloader(), data.val_dataloader())] == [4, 2]


# Lists and classes


def test_augmented_list_is_trained_on_if_it_and_its_masks_are_there(root: Path) -> None:
    lines = (lists(root) / "train.txt").read_text().split()[:6]
    paths = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in lines]
    (lists(root) / "train_aug.txt").write_text("\n".join(paths))
    assert len(names(prepared(root, "fit").train_dataloader())) == 20  # no masks yet
    shutil.copytree(root / "SegmentationClass", root / "SegmentationClassAug")
    data = prepared(root, "fit")
    assert names(data.train_dataloader()) == lines
    masks = [pair.mask for loader in (data.train_dataloader(), data.val_dataloader()) for pair in pairs_of(loader)]
    assert [mask.parent.name for mask in masks if mask] == ["SegmentationClassAug"] * 6 + ["SegmentationClass"] * 3
    assert len(names(prepared(root, "fit", lists=Lists(train="train")).train_dataloader())) == 20


def test_each_split_has_the_images_of_its_own_list(root: Path) -> None:
    there = (lists(root) / "train.txt").read_text().split()
    own = {"train": there[:5], "val": there[5:8], "test": there[8:10]}
    for split, images in own.items():
        (lists(root) / f"my_{split}.txt").write_text("\n".join(images))
    settings = {"lists": Lists("my_train", "my_val", "my_test")}
    data = prepared(root, "fit", **settings)
    assert names(data.train_dataloader()) == own["train"]
    assert names(data.val_dataloader()) == own["val"]
    assert names(prepared(root, "validate", **settings).val_dataloader()) == own["val"]
    assert names(prepared(root, "test", **settings).test_dataloader()) == own["test"]
    assert names(prepared(root, "predict", **settings).predict_dataloader()) == own["test"]


def test_images_to_segment_are_checked_before_the_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.effect_noise((40, 40), 50).save(tmp_path / f"{name}.jpg")
    (tmp_path / "._a.jpg").write_bytes(b"what macOS leaves")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:300])
    with pytest.raises(InputError, match=r"1 of 2 images cannot be used:\n.*b.jpg"):
        PascalVOC(images=str(tmp_path)).setup("predict")
    data = PascalVOC(images=str(tmp_path), invalid_samples="skip")
    with pytest.warns(UserWarning, match="b.jpg"):
        data.setup("predict")
    assert len(data.predict_dataloader()) == 1


def test_classes_are_those_of_the_file_given_or_found_or_of_voc(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "names.txt"
    other.write_text("road\nsky\n\n" + "\n".join(f"more {k}" for k in range(3)))
    spec = prepared(root, "validate", classes=str(other)).data_spec()
    assert spec.labels == ("road", "sky", *(f"more {k}" for k in range(3)))
    assert prepared(root, "validate").data_spec().labels[1] == "disc"
    (root / "classes.txt").unlink()
    assert prepared(root, "validate").data_spec().labels == CLASSES
    assert (len(CLASSES), CLASSES[12], CLASSES[15], CLASSES[17]) == (21, "dog", "person", "sheep")


def test_bad_masks_are_named_before_the_run_or_left_out(root: Path) -> None:
    first, second = (lists(root) / "train.txt").read_text().split()[:2]
    wrong = root / "SegmentationClass" / f"{first}.png"
    Image.fromarray(np.full(Image.open(wrong).size[::-1], 77, np.uint8)).save(wrong)
    Image.new("P", (5, 5)).save(root / "SegmentationClass" / f"{second}.png")
    with pytest.raises(InputError) as error:
        prepared(root, "fit")
    assert "2 of 20 images cannot be used" in str(error.value)
    assert "label 77 at column 0, row 0 is no class" in str(error.value)
    assert "the mask has 5x5 pixels" in str(error.value)
    with pytest.warns(UserWarning, match="2 of 20 images cannot be used"):
        data = prepared(root, "fit", invalid_samples="skip")
    valid = names(data.train_dataloader())
    assert {first, second}.isdisjoint(valid)
    assert len(valid) == 18


# Labels of all masks together


def relabel(root: Path, split: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the labels of all masks of a list, uint8 (H, W)."""
    for name in (lists(root) / f"{split}.txt").read_text().split():
        file = root / "SegmentationClass" / f"{name}.png"
        save_mask(file, change(np.asarray(Image.open(file))))


@pytest.fixture
def no_disc(root: Path) -> Path:
    """The data set, of which no training mask has a disc, the first class after the background."""
    relabel(root, "train", lambda labels: np.where(labels == 1, 0, labels).astype(np.uint8))
    return root


def test_classes_that_no_training_mask_has_are_named_at_each_start(no_disc: Path) -> None:
    for _ in range(2):
        with pytest.warns(
            UserWarning, match=r"train.txt: its masks have no pixel of 1 of the 5 classes.*: disc \(1\)\.$"
        ):
            prepared(no_disc, "fit")


def test_class_is_missing_if_only_masks_that_are_left_out_have_it(no_disc: Path) -> None:
    first = (lists(no_disc) / "train.txt").read_text().split()[0]
    save_mask(no_disc / "SegmentationClass" / f"{first}.png", np.ones((5, 5), np.uint8))
    with pytest.warns(UserWarning, match=r"no pixel of 1 of the 5 classes.*: disc \(1\)\.$"):
        prepared(no_disc, "fit", invalid_samples="skip")


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_where_training_masks_have_all_classes(root: Path) -> None:
    relabel(root, "val", lambda labels: np.where(labels == 1, 0, labels).astype(np.uint8))
    for stage in ("fit", "validate", "test", "predict"):
        prepared(root, stage)


@pytest.mark.parametrize(("split", "stage"), [("train", "fit"), ("val", "fit"), ("val", "validate"), ("val", "test")])
def test_masks_of_0_and_255_alone_are_refused_with_how_to_mend_them(root: Path, split: str, stage: str) -> None:
    relabel(root, split, lambda labels: np.where((labels > 0) & (labels < 255), 255, 0).astype(np.uint8))
    with pytest.raises(InputError, match=rf"{split}.txt: its masks have the labels 0 and 255 alone") as error:
        prepared(root, stage)
    prepared(root, "predict")  # which needs no masks
    snippet = str(error.value).partition("in Python, by: ")[2]
    for file in (root / "SegmentationClass").iterdir():
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            shutil.copy(file, root / "mask.png")
            exec(snippet)
            shutil.move(root / "mask.png", file)
    (root / "classes.txt").write_text("background\nforeground\n" + "\n".join(f"more {k}" for k in range(3)))
    (batch, *_) = prepared(root, "validate").val_dataloader()
    assert {0, 1} <= set(batch["label"].unique().tolist())


@pytest.mark.parametrize(("split", "stage"), [("train", "fit"), ("val", "fit"), ("val", "validate"), ("val", "test")])
def test_split_without_a_pixel_that_counts_is_refused(root: Path, split: str, stage: str) -> None:
    relabel(root, split, lambda labels: np.full_like(labels, 255))
    with pytest.raises(InputError, match=rf"{split}.txt: no pixel of its masks counts"):
        prepared(root, stage)


def test_names_of_voc_are_not_taken_for_a_set_with_fewer_labels(root: Path) -> None:
    (root / "classes.txt").unlink()
    with pytest.raises(
        InputError, match=r"train.txt: its masks have the labels 0 to 4 and no other.*VOC's 21"
    ) as error:
        prepared(root, "fit")
    assert "classes.txt" in str(error.value)
    assert "--model.num_classes=5" in str(error.value)


def test_names_of_voc_may_lack_masks_in_a_part_of_voc(root: Path) -> None:
    (root / "classes.txt").unlink()
    relabel(root, "train", lambda labels: np.where(labels == 1, 15, labels).astype(np.uint8))
    with pytest.warns(UserWarning, match=r"of 16 of the 21 classes, .*: aeroplane \(1\), .*, tvmonitor \(20\)\.$"):
        prepared(root, "fit")


def test_list_of_more_names_than_labels_is_doubted(root: Path) -> None:
    with (root / "classes.txt").open("a") as file:
        file.write("sun\nmoon\n")
    with pytest.warns(UserWarning, match=r"sun \(5\), moon \(6\)\. Does .*classes.txt name the classes of these masks"):
        prepared(root, "fit")


# Images to predict


def test_images_need_neither_a_data_set_nor_classes(tmp_path: Path) -> None:
    Image.new("L", (8, 6)).save(tmp_path / "a.jpg")
    data = prepared(tmp_path / "none", "predict", images=str(tmp_path / "a.jpg"))
    assert data.data_spec().labels == ()
    (batch,) = data.predict_dataloader()
    assert batch["image"].shape == (1, 3, 6, 8)
    with pytest.raises(InputError, match="no such folder"):
        prepared(tmp_path / "none", "predict", images=str(tmp_path / "nothing"))


# Batches


def test_training_batch_is_normalized_and_its_labels_are_integers(root: Path) -> None:
    data = prepared(root, "fit", augmentation=RandomCrop(32, scales=(0.2, 0.2)))
    (raw, *_) = data.train_dataloader()
    batch = data.transform(raw, training=True)
    assert batch["image"].shape == (4, 3, 32, 32)
    assert batch["label"].dtype == torch.int64
    assert set(batch) == {"image", "label", "index"}
    outside = batch["label"] == 255
    assert outside.any()
    around = batch["image"].movedim(1, -1)[:, 0, 0]  # a corner, which images this small seldom reach
    assert around.abs().min() < 0.01  # the surround is the mean
    images = data.to_images(batch["image"])
    assert torch.equal(images, raw["image"])


def test_normalization_is_that_of_imagenet(root: Path) -> None:
    data = prepared(root, "validate")
    raw = next(iter(data.val_dataloader()))
    found = data.transform(raw, training=False)["image"]
    expected = (raw["image"] / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert torch.allclose(found, expected, atol=1e-6)


def test_color_changes_images_in_training_only(root: Path) -> None:
    data = prepared(root, "fit", augmentation=RandomCrop(32, color_jitter=0.5))
    (raw, *_) = data.train_dataloader()
    plain = data.transform(raw, training=False)["image"]
    changed = data.transform(raw, training=True)["image"]
    assert not torch.allclose(plain, changed, atol=0.05)
    still = raw | {"color": torch.ones(4, 3)}
    assert torch.allclose(data.transform(still, training=True)["image"], plain, atol=1e-5)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_crops_are_the_same_for_any_number_of_workers_and_differ_between_epochs(
    root: Path, num_workers: int, tmp_path: Path
) -> None:
    class Keep(Recorder):
        crops: dict[tuple[int, int], torch.Tensor]

        def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
            for index, image in zip(batch["index"].tolist(), batch["image"], strict=True):
                self.crops[self.current_epoch, index] = image
            return super().training_step(batch, batch_idx)

    model = Keep()
    model.crops = {}
    settings: dict[str, Any] = {"seed": 3, "augmentation": RandomCrop(16, color_jitter=0.3)}
    data = data_at(root, num_workers=num_workers, **settings)
    bare_trainer(tmp_path, max_epochs=3, limit_val_batches=0).fit(model, data)
    alone = prepared(root, "fit", **settings)
    samples: Any = alone.train_dataloader().dataset
    for (epoch, index), image in model.crops.items():
        again = alone.transform(samples[epoch, [index]], training=True)["image"][0]
        assert torch.equal(image, again), (epoch, index)
    assert len(model.crops) == 3 * 20
    assert not any(torch.equal(model.crops[0, k], model.crops[1, k]) for k in range(20))


def test_cache_that_cannot_be_written_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"could not be written .*--data\.cache") as error:
        PascalVOC(root=str(root), cache=str(tmp_path / "file")).setup("fit")
    assert str(error.value).startswith(str(tmp_path / "file"))
