"""The files of a folder in Tiny-ImageNet's layout: names of classes, images and labels."""

import os
from pathlib import Path

from datamodules.images.image_file import list_images
from datamodules.sources.near_root import near_root
from sextant.errors import InputError
from sextant.files.text_file import entries, sized_lines


def _require(file: Path) -> Path:
    """A text file of the data set, which must be there."""
    if not file.is_file():
        raise InputError(
            f"{file}: there is no such file, so {file.parent} is no folder in Tiny-ImageNet's layout (data.root)."
            f"{near_root(file.parent, 'wnids.txt')} docs/own-data.md says how to make one of a folder for each class. "
            "Tiny-ImageNet itself is downloaded with --data.download=true, into a folder that is not there yet."
        )
    return file


def read_classes(root: Path) -> dict[str, str]:
    """The classes, WordNet id -> name, in the order of ``wnids.txt``, which is that of the labels."""
    file = _require(root / "wnids.txt")
    wnids: list[str] = []
    for number, (line, _) in enumerate(sized_lines(file), 1):
        wnid = line.strip()
        if wnid in wnids:
            raise InputError(f"{file}:{number}: class {wnid!r} is listed twice. Remove one of the lines.")
        if wnid:
            wnids.append(wnid)
    if not wnids:
        raise InputError(f"{file}: the file is empty; it should list one class a line. Get it anew.")
    words = (line.rstrip("\r\n") for line, _ in sized_lines(_require(root / "words.txt")))
    names = dict(line.split("\t", 1) for line in words if "\t" in line)
    return {wnid: names.get(wnid, wnid) for wnid in wnids}


def read_train(root: Path, wnids: list[str]) -> tuple[list[Path], list[int]]:
    """The training images with their labels, sorted by class and then by name."""
    files: list[Path] = []
    labels: list[int] = []
    for label, wnid in enumerate(wnids):
        found = list_images(root / "train" / wnid / "images")
        files += found
        labels += [label] * len(found)
    return files, labels


def read_val(root: Path, wnids: list[str]) -> tuple[list[Path], list[int]]:
    """The validation images with their labels, in the order of ``val_annotations.txt``."""
    annotations = _require(root / "val" / "val_annotations.txt")
    images = root / "val" / "images"
    present = set(os.listdir(images)) if images.is_dir() else set()
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    advice = "The file may be damaged; delete the folder and run again with --data.download=true."
    files: list[Path] = []
    labels: list[int] = []
    for number, line in entries(annotations, "an image with its class"):
        fields = line.split("\t")
        where = f"{annotations}:{number}"
        if len(fields) != 6:
            raise InputError(
                f"{where}: {len(fields)} fields instead of 6 (file, class, and the four sides of a box, separated by "
                f"tabs). The line reads: {line!r}. {advice}"
            )
        name, wnid = fields[:2]
        if wnid not in label_of:
            raise InputError(f"{where}: class {wnid!r} is not in wnids.txt. The line reads: {line!r}. {advice}")
        if name not in present:
            raise InputError(f"{where}: there is no image {images / name}. The line reads: {line!r}. {advice}")
        files.append(images / name)
        labels.append(label_of[wnid])
    if not files:
        raise InputError(f"{annotations}: the file is empty. {advice}")
    return files, labels
