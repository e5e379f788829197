"""Tiny-ImageNet is read as it was published, and whatever is wrong with it is named."""

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.sources.archive import Archive
from datamodules.tiny_imagenet import MEAN, STD, TOP, TinyImageNet
from sextant.errors import InputError
from tests.datamodules.faults import cut_in_half, listing, noise, snapshot


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


def annotations(root: Path) -> Path:
    return root / "val" / "val_annotations.txt"


def edit_line(file: Path, number: int, edit: Callable[[str], str]) -> str:
    """Change one line of a text file and return what it is then."""
    lines = file.read_text().splitlines()
    lines[number - 1] = edit(lines[number - 1])
    file.write_text("".join(f"{line}\n" for line in lines))
    return lines[number - 1]


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
    assert len(data._sets["train"]) == 80
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


def test_sample_set_is_made_in_the_cache_and_says_that_it_is_one(tmp_path: Path) -> None:
    data = prepared(tmp_path / "data" / TOP, "validate", synthetic=True)
    assert data.synthetic
    assert data.root.is_relative_to(tmp_path / "cache")
    assert not (tmp_path / "data").exists()
    assert len(data.classes) == 10
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


# Classes


def test_classes_are_in_the_order_of_wnids_txt(root: Path) -> None:
    wnids = (root / "wnids.txt").read_text().split()
    (root / "wnids.txt").write_text("\n".join(reversed(wnids)))
    data = prepared(root, "fit")
    assert list(data.classes) == wnids[::-1]
    first = data.train_dataloader().dataset[[0, 7, 8]]
    assert first["label"].tolist() == [0, 0, 1]
    assert data._sets["train"].images.files[0].parts[-3] == wnids[-1]


def test_name_of_a_class_is_all_that_follows_the_first_tab(root: Path) -> None:
    (root / "words.txt").write_text("n90000000\tgoldfish, Carassius auratus\nn90000001\ta\tb\tc\n")
    classes = prepared(root, "validate").classes
    assert classes["n90000000"] == "goldfish, Carassius auratus"
    assert classes["n90000001"] == "a\tb\tc"


def test_class_without_a_name_is_called_by_its_id(root: Path) -> None:
    (root / "words.txt").write_text("n90000001\tsquare\nn90000000 no tab here\nn00000000\tnot a class of this set\n")
    classes = prepared(root, "validate").classes
    assert classes["n90000000"] == "n90000000"
    assert classes["n90000001"] == "square"
    assert len(classes) == 10


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_missing_text_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(InputError, match="there is no such file") as error:
        prepared(root, "fit")
    assert str(root / name) in str(error.value)
    assert "data.root" in str(error.value)


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_text_file_that_is_not_utf8_is_named_with_the_byte(root: Path, name: str) -> None:
    content = bytearray((root / name).read_bytes())
    content[12] = 0xE9
    (root / name).write_bytes(content)
    with pytest.raises(InputError, match="not UTF-8 at byte 12") as error:
        prepared(root, "fit")
    assert str(root / name) in str(error.value)


def test_empty_list_of_classes_is_named(root: Path) -> None:
    (root / "wnids.txt").write_text("\n")
    with pytest.raises(InputError, match="the file is empty") as error:
        prepared(root, "fit")
    assert str(root / "wnids.txt") in str(error.value)


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["n90000000", "n90000001", "n90000000"], 3),
        (["n90000000", "", "n90000001", "n90000000"], 4),
    ],
)
def test_class_that_is_listed_twice_is_named_with_file_and_line(root: Path, lines: list[str], number: int) -> None:
    (root / "wnids.txt").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(InputError, match="'n90000000' is listed twice") as error:
        prepared(root, "fit")
    assert f"{root / 'wnids.txt'}:{number}: " in str(error.value)


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_line_ends_of_windows_make_no_difference(root: Path, name: str) -> None:
    before = prepared(root, "fit")
    (root / name).write_bytes((root / name).read_bytes().replace(b"\n", b"\r\n"))
    after = prepared(root, "fit")
    assert after.classes == before.classes
    assert torch.equal(torch.as_tensor(after._sets["val"].labels), torch.as_tensor(before._sets["val"].labels))


# Training images


def test_missing_folder_of_a_class_is_named(root: Path) -> None:
    shutil.rmtree(root / "train" / "n90000003")
    with pytest.raises(InputError, match="there is no such folder") as error:
        prepared(root, "fit")
    assert str(root / "train" / "n90000003" / "images") in str(error.value)
    assert "--data.root" in str(error.value)


def test_empty_folder_of_a_class_is_named(root: Path) -> None:
    images = root / "train" / "n90000003" / "images"
    shutil.rmtree(images)
    images.mkdir()
    (images / "readme.txt").write_text("no image")
    with pytest.raises(InputError, match="holds no image") as error:
        prepared(root, "fit")
    assert str(images) in str(error.value)


def test_training_images_have_the_label_of_their_folder(root: Path) -> None:
    data = prepared(root, "fit")
    train = data._sets["train"]
    assert train.labels is not None
    names = [list(data.classes)[label] for label in train.labels.tolist()]
    assert names == [file.parts[-3] for file in train.images.files]
    assert [names.count(name) for name in data.classes] == [8] * 10


# Validation images


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda line: line.replace("\t", " "), "1 fields instead of 6"),
        (lambda line: line.rpartition("\t")[0], "5 fields instead of 6"),
        (lambda line: line + "\t0", "7 fields instead of 6"),
        (lambda line: "", "1 fields instead of 6"),
    ],
)
@pytest.mark.parametrize("number", [1, 17, 40])
def test_malformed_annotation_is_named_with_file_and_line(
    root: Path, edit: Callable[[str], str], complaint: str, number: int
) -> None:
    line = edit_line(annotations(root), number, edit)
    with pytest.raises(InputError) as error:
        prepared(root, "validate")
    message = str(error.value)
    assert message.startswith(f"{annotations(root)}:{number}: ")
    assert complaint in message
    assert repr(line) in message
    assert "--data.download=true" in message


def test_annotation_of_unknown_class_is_named_with_file_and_line(root: Path) -> None:
    line = edit_line(annotations(root), 23, lambda line: re.sub("n9000....", "n0144388", line))
    with pytest.raises(InputError, match=r"class 'n0144388' is not in wnids\.txt") as error:
        prepared(root, "validate")
    assert str(error.value).startswith(f"{annotations(root)}:23: ")
    assert repr(line) in str(error.value)


def test_annotation_of_missing_image_is_named_with_file_and_line(root: Path) -> None:
    image = root / "val" / "images" / annotations(root).read_text().splitlines()[22].split("\t")[0]
    image.unlink()
    with pytest.raises(InputError, match="there is no image") as error:
        prepared(root, "validate")
    assert str(error.value).startswith(f"{annotations(root)}:23: ")
    assert str(image) in str(error.value)


def test_missing_folder_of_validation_images_is_named(root: Path) -> None:
    shutil.rmtree(root / "val" / "images")
    with pytest.raises(InputError, match="there is no image") as error:
        prepared(root, "validate")
    assert str(root / "val" / "images") in str(error.value)


def test_empty_annotations_are_named(root: Path) -> None:
    annotations(root).write_text("")
    with pytest.raises(InputError, match="the file is empty") as error:
        prepared(root, "validate")
    assert str(annotations(root)) in str(error.value)


def test_validation_labels_come_from_the_annotations(root: Path) -> None:
    lines = [line.split("\t") for line in annotations(root).read_text().splitlines()]
    wnids = (root / "wnids.txt").read_text().split()
    # Other classes than the images show, in another order than that of the names.
    lines = [[line[0], wnids[(7 * k + 3) % 10], *line[2:]] for k, line in enumerate(reversed(lines))]
    annotations(root).write_text("".join("\t".join(line) + "\n" for line in lines))
    data = prepared(root, "validate")
    batch = data._sets["val"][list(range(40))]
    assert batch["label"].tolist() == [(7 * k + 3) % 10 for k in range(40)]
    assert [file.name for file in data._sets["val"].images.files] == [line[0] for line in lines]
    with Image.open(root / "val" / "images" / lines[0][0]) as image:
        np.testing.assert_array_equal(batch["image"][0], np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_images_without_annotation_are_no_validation_images(root: Path) -> None:
    lines = annotations(root).read_text().splitlines()
    annotations(root).write_text("\n".join(lines[:30]))
    assert len(prepared(root, "validate")._sets["val"]) == 30


def test_unreadable_image_stops_the_run_and_is_named(root: Path) -> None:
    image = root / "val" / "images" / "val_7.JPEG"
    cut_in_half(image)
    with pytest.raises(InputError, match="1 of 40 images cannot be used") as error:
        prepared(root, "validate")
    assert str(image) in str(error.value)


def test_labels_belong_to_their_images_when_unreadable_ones_are_left_out(root: Path) -> None:
    lines = [line.split("\t") for line in annotations(root).read_text().splitlines()]
    for k in (0, 7, 8, 39):
        cut_in_half(root / "val" / "images" / lines[k][0])
    with pytest.warns(UserWarning, match="4 of 40 images"):
        data = prepared(root, "validate", unreadable="skip")
    wnid_of = {line[0]: line[1] for line in lines}
    val = data._sets["val"]
    batch = val[list(range(36))]
    for k, file in enumerate(val.images.files):
        assert list(data.classes)[batch["label"][k]] == wnid_of[file.name]
        with Image.open(file) as image:
            np.testing.assert_array_equal(batch["image"][k], np.asarray(image.convert("RGB")).transpose(2, 0, 1))


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
        data = prepared(root, stage, mixup_alpha=0.2)
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
    names = [file.name for file in data._sets["predict"].images.files]
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
    data.trainer = SimpleNamespace(training=False, predicting=True)  # type: ignore[assignment]
    assert [os.path.basename(name) for name in data.sample_names(batch)] == [  # noqa: PTH119
        "alpha.WEBP",
        "gray.png",
        "palette.gif",
        "photo one.JPG",
        "print.jpeg",
        "tiny.bmp",
    ]
    assert len(data.classes) == (10 if with_data_set else 0)
    assert snapshot(odd_images) == before


def test_missing_folder_of_images_to_predict_is_named_with_its_setting(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data\.images") as error:
        prepared(root, "predict", images=str(tmp_path / "missing"))
    assert str(tmp_path / "missing") in str(error.value)


def test_samples_are_named_by_their_files_in_each_split(root: Path) -> None:
    data = prepared(root, "fit")
    batch = {"index": torch.tensor([5, 0])}
    for training, split in ((True, "train"), (False, "val")):
        data.trainer = SimpleNamespace(training=training, predicting=False, testing=False)  # type: ignore[assignment]
        names = data.sample_names(batch)
        assert names == [str(data._sets[split].images.files[i]) for i in (5, 0)]
        assert all(Path(name).is_relative_to(root / split) for name in names)


# The transform


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Eight images of noise, each of a class of its own."""
    return {
        "image": torch.from_numpy(noise(0, 8, 3, 64, 64)),
        "label": torch.tensor([3, 1, 4, 5, 9, 2, 6, 8]),
        "index": torch.arange(8),
    }


PLAIN: dict[str, Any] = {"crop_padding": 0, "flip": False, "color_jitter": 0.0}
RICH: dict[str, Any] = {"crop_padding": 8, "flip": True, "color_jitter": 0.4, "mixup_alpha": 0.2, "cutmix_alpha": 1.0}


def test_transform_outside_training_is_exactly_the_normalization(root: Path, batch: dict[str, torch.Tensor]) -> None:
    data = prepared(root, "fit", **RICH)
    generator = torch.get_rng_state()
    first = data.transform(batch, training=False)
    second = data.transform(batch, training=False)
    assert torch.equal(torch.get_rng_state(), generator), "something was drawn"
    assert torch.equal(first["image"], second["image"])
    exact = (batch["image"].numpy() / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    np.testing.assert_allclose(first["image"].numpy(), exact, rtol=0, atol=2e-6)
    assert torch.equal(first["label"], batch["label"])
    assert torch.equal(first["index"], batch["index"])


def test_transform_in_training_without_augmentation_is_that_outside(root: Path, batch: dict[str, torch.Tensor]) -> None:
    data = prepared(root, "fit", **PLAIN)
    torch.testing.assert_close(data.transform(batch, True), data.transform(batch, False), rtol=0, atol=0)


@pytest.mark.parametrize("setting", ["crop_padding", "flip", "color_jitter", "mixup_alpha", "cutmix_alpha"])
def test_every_augmentation_changes_training_images_and_no_others(
    root: Path, batch: dict[str, torch.Tensor], setting: str
) -> None:
    data = prepared(root, "fit", **(PLAIN | {setting: RICH[setting]}))
    torch.manual_seed(0)
    plain = data.transform(batch, training=False)["image"]
    augmented = [data.transform(batch, training=True)["image"] for _ in range(3)]
    assert not any(torch.equal(image, plain) for image in augmented)
    assert not torch.equal(augmented[0], augmented[1])
    assert torch.equal(data.transform(batch, training=False)["image"], plain)


def test_transform_in_training_is_the_same_for_the_same_seed_of_torch(
    root: Path, batch: dict[str, torch.Tensor]
) -> None:
    data = prepared(root, "fit", **RICH)
    for seed in range(5):  # MixUp for some, CutMix for others
        torch.manual_seed(seed)
        first = data.transform(batch, training=True)
        torch.manual_seed(seed)
        torch.testing.assert_close(data.transform(batch, training=True), first, rtol=0, atol=0)


def test_transform_leaves_the_batch_that_it_is_given_as_it_was(root: Path, batch: dict[str, torch.Tensor]) -> None:
    before = {name: tensor.clone() for name, tensor in batch.items()}
    data = prepared(root, "fit", **RICH)
    data.transform(batch, training=True)
    torch.testing.assert_close(batch, before, rtol=0, atol=0)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_rows_of_mixed_labels_sum_to_one(
    root: Path, batch: dict[str, torch.Tensor], mixup: float, cutmix: float
) -> None:
    data = prepared(root, "fit", mixup_alpha=mixup, cutmix_alpha=cutmix)
    torch.manual_seed(0)
    for _ in range(20):
        mixed = data.transform(batch, training=True)
        label = mixed["label"]
        assert (label.shape, label.dtype) == ((8, 10), torch.float32)
        assert (label >= 0).all()
        torch.testing.assert_close(label.sum(1), torch.ones(8))
        own = label.gather(1, batch["label"][:, None])
        others = label.gather(1, batch["label"].roll(1)[:, None])
        torch.testing.assert_close(own + others, torch.ones(8, 1))
        assert (mixed["image"].shape, mixed["image"].dtype) == ((8, 3, 64, 64), torch.float32)
        assert torch.equal(mixed["index"], batch["index"])


def test_mixup_blends_images_by_the_shares_of_their_labels(root: Path, batch: dict[str, torch.Tensor]) -> None:
    data = prepared(root, "fit", **PLAIN, mixup_alpha=1.0)
    plain = data.transform(batch, training=False)["image"]
    torch.manual_seed(0)
    for _ in range(10):
        mixed = data.transform(batch, training=True)
        share = mixed["label"].gather(1, batch["label"][:, None])[:, :, None, None]
        torch.testing.assert_close(mixed["image"], share * plain + (1 - share) * plain.roll(1, 0))


def test_cutmix_takes_as_much_of_each_image_as_its_label_says(root: Path, batch: dict[str, torch.Tensor]) -> None:
    data = prepared(root, "fit", **PLAIN, cutmix_alpha=1.0)
    plain = data.transform(batch, training=False)["image"]
    torch.manual_seed(0)
    shares = []
    for _ in range(10):
        mixed = data.transform(batch, training=True)
        own = (mixed["image"] == plain).all(1)
        other = (mixed["image"] == plain.roll(1, 0)).all(1)
        assert (own | other).all()
        share = mixed["label"].gather(1, batch["label"][:, None])[:, 0]
        torch.testing.assert_close(own.float().mean((1, 2)), share, rtol=0, atol=1e-3)
        shares.append(share[0].item())
    assert len(set(shares)) > 5, "the rectangles did not differ"


def test_both_mixup_and_cutmix_are_drawn_when_both_are_set(root: Path, batch: dict[str, torch.Tensor]) -> None:
    data = prepared(root, "fit", **PLAIN, mixup_alpha=1.0, cutmix_alpha=1.0)
    plain = data.transform(batch, training=False)["image"]
    torch.manual_seed(0)
    images = [data.transform(batch, training=True)["image"] for _ in range(40)]
    cut = [bool(((image == plain) | (image == plain.roll(1, 0))).all()) for image in images]
    assert 5 < sum(cut) < 35


def test_validation_labels_are_not_mixed(root: Path, batch: dict[str, torch.Tensor]) -> None:
    data = prepared(root, "fit", **RICH)
    assert data.transform(batch, training=False)["label"].dtype == torch.int64


def test_to_images_undoes_the_normalization_of_every_shade(root: Path) -> None:
    data = data_at(root)
    shades = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    normalized = data.transform({"image": shades}, training=False)["image"]
    images = data.to_images(normalized)
    assert images.dtype == torch.uint8
    assert torch.equal(images, shades)


def test_to_images_keeps_what_is_beyond_black_and_white_within_a_byte(root: Path) -> None:
    images = data_at(root).to_images(torch.tensor([-100.0, 100.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2))
    assert images[0, 0, 0].tolist() == [0, 255]
