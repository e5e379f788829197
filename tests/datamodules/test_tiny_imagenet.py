"""Tiny-ImageNet is read as it was published, and whatever is wrong with it is named."""

import hashlib
import inspect
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images.augmentation import Augmentation
from datamodules.images.image_cache import ImageCache
from datamodules.sources.archive import Archive
from datamodules.synthetic import tiny_imagenet as synthetic_set
from datamodules.tiny_imagenet import TOP, TinyImageNet
from sextant.errors import InputError
from tests.datamodules.trainer_states import during
from tests.filesystem import cut_in_half, listing, snapshot
from tests.noise_images import noise


@pytest.fixture
def root(tiny_imagenet: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may damage."""
    return shutil.copytree(tiny_imagenet, tmp_path / "data" / TOP)


@pytest.fixture
def archive(tiny_imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The archive on its server, in the place of the published one."""
    path = tmp_path / "server" / f"{TOP}.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        for name in listing(tiny_imagenet):
            file.write(tiny_imagenet / name, f"{TOP}/{name}")
    content = path.read_bytes()
    pinned = Archive(path.as_uri(), len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr("datamodules.tiny_imagenet.ARCHIVE", pinned)
    return pinned


def data_at(root: Path, **settings: Any) -> TinyImageNet:
    """The data in ``root``, with a cache of its own for each test."""
    return TinyImageNet(root=str(root), cache=str(root.parent.parent / "cache"), **settings)


def prepared(root: Path, stage: str, **settings: Any) -> TinyImageNet:
    data = data_at(root, **settings)
    data.prepare_data()
    data.setup(stage)
    return data


def images_of(loader: Any) -> ImageCache:
    """The images that a loader reads."""
    return loader.dataset.images


def annotations(root: Path) -> Path:
    return root / "val" / "val_annotations.txt"


# Getting the data


def test_missing_folder_is_named_with_every_way_to_get_data(tmp_path: Path) -> None:
    data = data_at(tmp_path / "data" / TOP)
    data.prepare_data()
    with pytest.raises(InputError) as error:
        data.setup("fit")
    message = str(error.value)
    for needed in (
        str(tmp_path / "data" / TOP),
        "data.root",
        "--data.root",
        "--data.download=true",
        "--data.synthetic=true",
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ):
        assert needed in message
    assert listing(tmp_path) == []


def test_data_set_is_downloaded_and_extracted_where_it_is_missing(
    archive: Archive, tiny_imagenet: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data" / TOP
    data = prepared(root, "fit", download=True)
    assert listing(root) == listing(tiny_imagenet)
    assert len(images_of(data.train_dataloader())) == 80
    assert (root.parent / f"{TOP}.zip").stat().st_size == archive.size


@pytest.mark.usefixtures("archive")
def test_data_set_that_is_there_is_not_downloaded_again(root: Path) -> None:
    before = snapshot(root.parent)
    data_at(root, download=True).prepare_data()
    assert snapshot(root.parent) == before


@pytest.mark.usefixtures("archive")
def test_archive_that_was_downloaded_by_hand_is_extracted(tmp_path: Path, tiny_imagenet: Path) -> None:
    root = tmp_path / "data" / TOP
    root.parent.mkdir()
    shutil.copy(tmp_path / "server" / f"{TOP}.zip", root.parent)
    data_at(root).prepare_data()
    assert listing(root) == listing(tiny_imagenet)


def test_half_an_archive_is_named_with_what_is_wrong_and_not_extracted(archive: Archive, tmp_path: Path) -> None:
    half = tmp_path / "data" / f"{TOP}.zip"
    half.parent.mkdir()
    shutil.copy(tmp_path / "server" / f"{TOP}.zip", half)
    cut_in_half(half)
    with pytest.raises(InputError) as error:
        data_at(tmp_path / "data" / TOP, download=False).prepare_data()
    assert str(half) in str(error.value)
    assert f"it has {archive.size // 2:,} bytes instead of {archive.size:,}" in str(error.value)
    assert "--data.download=true" in str(error.value)
    assert listing(half.parent) == [f"{TOP}.zip"]


@pytest.mark.usefixtures("archive")
def test_half_an_archive_is_replaced_when_downloading_is_allowed(tmp_path: Path, tiny_imagenet: Path) -> None:
    half = tmp_path / "data" / f"{TOP}.zip"
    half.parent.mkdir()
    shutil.copy(tmp_path / "server" / f"{TOP}.zip", half)
    cut_in_half(half)
    data_at(tmp_path / "data" / TOP, download=True).prepare_data()
    assert listing(tmp_path / "data" / TOP) == listing(tiny_imagenet)


def test_synthetic_data_is_made_in_the_cache_and_says_that_it_is_synthetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic_set.make, "__defaults__", (1, 1, 1, 0))
    data = prepared(tmp_path / "data" / TOP, "validate", synthetic=True)
    assert data.synthetic
    assert data.root.is_relative_to(tmp_path / "cache")
    assert not (tmp_path / "data").exists()
    assert len(data.data_spec().labels) == 10
    assert not data_at(tmp_path).synthetic


def test_archive_given_as_root_is_an_input_error_that_names_it(tmp_path: Path) -> None:
    root = tmp_path / "data" / f"{TOP}.zip"
    root.parent.mkdir()
    root.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"data\.root") as error:
        prepared(root, "fit")
    assert str(root) in str(error.value)


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_images_to_predict_are_no_data_set_to_train_on(root: Path, tmp_path: Path, stage: str) -> None:
    missing = tmp_path / "missing" / TOP
    with pytest.raises(InputError) as error:
        prepared(missing, stage, images=str(root / "test" / "images"))
    assert str(missing) in str(error.value)


# Damaged images


def test_damaged_image_stops_the_run_and_is_named(root: Path) -> None:
    image = root / "val" / "images" / "val_7.JPEG"
    cut_in_half(image)
    with pytest.raises(InputError, match="1 of 40 images cannot be used") as error:
        prepared(root, "validate")
    assert str(image) in str(error.value)


def test_labels_belong_to_their_images_when_damaged_ones_are_left_out(root: Path) -> None:
    lines = [line.split("\t") for line in annotations(root).read_text().splitlines()]
    for k in (0, 7, 8, 39):
        cut_in_half(root / "val" / "images" / lines[k][0])
    with pytest.warns(UserWarning, match="4 of 40 images"):
        data = prepared(root, "validate", invalid_samples="skip")
    wnid_of = {line[0]: line[1] for line in lines}
    files = images_of(data.val_dataloader()).files
    assert len(files) == 36
    for batch in data.val_dataloader():
        for image, label, index in zip(batch["image"], batch["label"], batch["index"], strict=True):
            assert data.data_spec().label_ids[label] == wnid_of[files[index].name]
            with Image.open(files[index]) as opened:
                np.testing.assert_array_equal(image, np.asarray(opened.convert("RGB")).transpose(2, 0, 1))


# Labels


@pytest.fixture
def shuffled(root: Path) -> Path:
    """The data set with its classes in no order, as in the published ``wnids.txt``."""
    wnids = (root / "wnids.txt").read_text().split()
    mixed = [wnids[i] for i in (3, 0, 8, 5, 9, 1, 7, 2, 6, 4)]
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in mixed))
    return root


@pytest.mark.parametrize("split", ["train", "val"])
def test_label_of_an_image_is_the_place_of_its_class_in_wnids_txt(shuffled: Path, split: str) -> None:
    wnids = (shuffled / "wnids.txt").read_text().split()
    of_val = dict(line.split("\t")[:2] for line in annotations(shuffled).read_text().splitlines())
    data = prepared(shuffled, "fit")
    names = dict(line.split("\t") for line in (shuffled / "words.txt").read_text().splitlines())
    assert data.data_spec().label_ids == tuple(wnids)
    assert data.data_spec().labels == tuple(names[wnid] for wnid in wnids)
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    files, seen = images_of(loader).files, set()
    for batch in loader:
        for label, index in zip(batch["label"].tolist(), batch["index"].tolist(), strict=True):
            file = files[index]
            assert wnids[label] == (file.parts[-3] if split == "train" else of_val[file.name])
            seen.add(label)
    assert seen == set(range(10))


# Stages


@pytest.mark.parametrize(("stage", "unneeded"), [("validate", "train"), ("predict", "train"), ("predict", "val")])
def test_stage_reads_only_the_splits_that_it_needs(root: Path, stage: str, unneeded: str) -> None:
    shutil.rmtree(root / unneeded)
    prepared(root, stage)


def test_test_stage_is_refused_with_what_to_do_instead(root: Path) -> None:
    with pytest.raises(InputError, match="never published") as error:
        prepared(root, "test")
    assert "'validate'" in str(error.value)
    assert "'predict'" in str(error.value)


def test_nothing_in_the_data_folder_is_written(root: Path) -> None:
    before = snapshot(root)
    for stage in ("fit", "validate", "predict"):
        data = prepared(root, stage)
    for loader in (data.predict_dataloader(), prepared(root, "fit").train_dataloader()):
        for batch in loader:
            data.transform(batch, training=False)
    assert snapshot(root) == before


def test_batches_of_training_and_validation_have_the_documented_shapes(root: Path) -> None:
    data = prepared(root, "fit", batch_size=16)
    for loader, size in ((data.train_dataloader(), 80), (data.val_dataloader(), 40)):
        seen: list[int] = []
        for batch in loader:
            count = len(batch["index"])
            assert 13 <= count <= 16
            assert batch.keys() == {"image", "label", "index"}
            assert (batch["image"].shape, batch["image"].dtype) == ((count, 3, 64, 64), torch.uint8)
            assert (batch["label"].shape, batch["label"].dtype) == ((count,), torch.int64)
            assert (batch["index"].shape, batch["index"].dtype) == ((count,), torch.int64)
            for training in (False, True):
                image = data.transform(batch, training=training)["image"]
                assert (image.shape, image.dtype) == ((count, 3, 64, 64), torch.float32)
            seen += batch["index"].tolist()
        assert sorted(seen) == list(range(size))


def test_test_split_is_predicted_without_labels_in_the_order_of_the_names(root: Path) -> None:
    data = prepared(root, "predict", batch_size=8)
    batches = list(data.predict_dataloader())
    assert all(batch.keys() == {"image", "index"} for batch in batches)
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(20))
    data.trainer = during("predicting")
    names = [Path(name).name for batch in batches for name in data.sample_names(batch)]
    assert names == sorted(path.name for path in (root / "test" / "images").iterdir())


@pytest.fixture
def odd_images(tmp_path: Path) -> Path:
    """A folder of someone's own: other sizes, modes, formats and names, and what is no image."""
    folder = tmp_path / "my images"
    folder.mkdir()
    color = Image.fromarray(noise(0, 120, 90, 3))
    color.save(folder / "photo one.JPG")
    color.convert("L").save(folder / "gray.png")
    color.convert("P").save(folder / "palette.gif")
    color.convert("RGBA").save(folder / "alpha.WEBP")
    color.convert("CMYK").save(folder / "print.jpeg")
    color.resize((7, 5)).save(folder / "tiny.bmp")
    (folder / "notes.txt").write_text("no image")
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "more").mkdir()
    return folder


@pytest.mark.parametrize("with_data_set", [True, False])
def test_folder_of_odd_images_is_predicted(root: Path, odd_images: Path, with_data_set: bool) -> None:
    before = snapshot(odd_images)
    where = root if with_data_set else root.parent / "missing"
    data = prepared(where, "predict", images=str(odd_images))
    (batch,) = data.predict_dataloader()
    assert batch["image"].shape == (6, 3, 64, 64)
    assert data.transform(batch, training=False)["image"].isfinite().all()
    data.trainer = during("predicting")
    assert [os.path.basename(name) for name in data.sample_names(batch)] == [  # noqa: PTH119
        "alpha.WEBP",
        "gray.png",
        "palette.gif",
        "photo one.JPG",
        "print.jpeg",
        "tiny.bmp",
    ]
    assert len(data.data_spec().labels) == (10 if with_data_set else 0)
    assert snapshot(odd_images) == before


def test_missing_folder_of_images_to_predict_is_named_with_its_setting(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data\.images") as error:
        prepared(root, "predict", images=str(tmp_path / "missing"))
    assert str(tmp_path / "missing") in str(error.value)


def test_samples_are_named_by_their_files_in_each_split(root: Path) -> None:
    data = prepared(root, "fit")
    loaders = {"training": data.train_dataloader(), "validating": data.val_dataloader()}
    for (state, loader), split in zip(loaders.items(), ("train", "val"), strict=True):
        data.trainer = during(state)
        for batch in loader:
            for name, image in zip(data.sample_names(batch), batch["image"], strict=True):
                assert Path(name).is_relative_to(root / split)
                with Image.open(name) as opened:
                    np.testing.assert_array_equal(image, np.asarray(opened.convert("RGB")).transpose(2, 0, 1))


def test_shift_of_more_pixels_than_the_images_have_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"data\.augmentation\.crop_padding is 64; it must be below 64"):
        TinyImageNet(augmentation=Augmentation(crop_padding=64))


def test_settings_that_may_change_are_settings() -> None:
    assert TinyImageNet.free_settings <= inspect.signature(TinyImageNet).parameters.keys()
    assert not {"augmentation", "batch_size"} & TinyImageNet.free_settings


def test_prediction_is_proposed_on_validation_images_where_there_are_none_for_tests(root: Path, tmp_path: Path) -> None:
    data = TinyImageNet(root=str(root), cache=str(tmp_path / "cache"))
    assert data.prediction_example() == []
    shutil.rmtree(root / "test")
    assert data.prediction_example() == [f"--data.images={root / 'val' / 'images'}"]


def test_folder_for_each_class_is_told_how_it_becomes_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    data = TinyImageNet(root=str(tmp_path / "photos"), cache=str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"wnids\.txt: there is no .* docs/own-data\.md says how to make one"):
        data.setup("fit")
    assert (tmp_path / "photos" / "cats").is_dir()
