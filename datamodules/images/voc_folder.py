"""The files of a folder in Pascal VOC's layout: names of classes, lists of images, images and masks."""

from collections.abc import Collection, Mapping
from pathlib import Path

from datamodules.images.image_file import SUFFIXES, list_images
from datamodules.images.segmentation import Pair
from datamodules.images.voc_palette import IGNORED
from datamodules.sources.invalid_samples import NAMED
from datamodules.sources.near_root import near_root
from sextant.errors import InputError
from sextant.files.text_file import entries, sized_lines


def read_classes(file: Path) -> list[str]:
    """The names of the classes, one a line.

    Raises:
        InputError: the file is missing, or it names fewer than two classes, one of them twice, or more than there are
            labels.
    """
    if not file.is_file():
        raise InputError(f"{file}: there is no such file (data.classes). It names the classes, one a line.")
    names = [line.strip() for line, _ in sized_lines(file) if line.strip()]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"{file}: class {twice!r} is named twice. Every label needs a name of its own.")
    if not 2 <= len(names) <= IGNORED:
        raise InputError(f"{file}: it names {len(names)} classes; there must be between 2 and {IGNORED}, one a line.")
    return names


def read_list(file: Path, root: Path, masks: str | None) -> list[Pair]:
    """The images that a list names, with their masks.

    Args:
        file: the list: a name a line, or the paths of image and mask, as some lists of augmented masks have them.
        root: the folder that holds the folders of images and masks.
        masks: the name of the folder of masks; None if they are not needed.

    Raises:
        InputError: there is no such list, it is empty, or it names files that are missing.
    """
    if not file.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.txt"))
        choose = "choose one with --data.lists.train, --data.lists.val or --data.lists.test"
        there = f"There are {', '.join(known)}: {choose}" if known else ""
        raise InputError(
            f"{file}: there is no such list. {there or 'Is data.root a folder like VOC2012?'}."
            f"{near_root(root, 'JPEGImages') if not known else ''}"
        )
    images = _by_stem(root / "JPEGImages", SUFFIXES)
    labels = None if masks is None else _by_stem(root / masks, {".png"})
    pairs, missing, line_of = [], [], dict[str, int]()
    for number, line in entries(file, "an image"):
        name = _named(line.strip(), images)
        if name in line_of:
            raise InputError(
                f"{file}:{number}: {name} is there already, in line {line_of[name]}. Remove one of the two."
            )
        line_of[name] = number
        image, mask = images.get(name), None if labels is None else labels.get(name)
        if image is None:
            missing.append(f"\n  line {number}: {root / 'JPEGImages' / name}")
        if labels is not None and mask is None:
            missing.append(f"\n  line {number}: {root / str(masks) / name}.png")
        if image is not None:
            pairs.append(Pair(image, mask))
    if missing:
        more = f"\n  ... and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise InputError(
            f"{file}: {len(missing)} of the files that it names are missing:{''.join(missing[:NAMED])}{more}\n"
            "Add them, or take their names from the list."
        )
    if not pairs:
        raise InputError(f"{file}: the list is empty. It should have a name a line.")
    return pairs


def _named(line: str, images: Mapping[str, Path]) -> str:
    """The name of the image in a line: its name, which may have dots and spaces, or the paths of image and mask."""
    names = [Path(path).name for path in (line, *line.split()[:1])]
    stems = [Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name for name in names]
    return next((name for name in (*names, *stems) if name in images), stems[-1])


def _by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise InputError(f"{path}: {found[path.stem].name} has the same name. Remove one of the two.")
            found[path.stem] = path
    return found


def find_images(source: Path) -> list[Path]:
    """The images to segment: a file, or those in a folder.

    Raises:
        InputError: there are none, or two of them differ in their suffix only, and so would have the same mask file.
    """
    files = [source] if source.is_file() else list_images(source)
    by_stem: dict[str, Path] = {}
    for file in files:
        if file.stem in by_stem:
            raise InputError(
                f"{file}: {by_stem[file.stem].name} has the same name but for the suffix, and their masks would too. "
                "Rename one of them."
            )
        by_stem[file.stem] = file
    return files
