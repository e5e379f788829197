"""Checks of the labels that the masks of a list have, all together."""

from collections.abc import Collection, Sequence
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from datamodules.images.voc_palette import IGNORED
from sextant.errors import InputError


def require_counting_pixels(labels: Collection[int], file: Path) -> None:
    """Require that there is something to learn or to measure.

    Args:
        labels: those that a pixel of the masks has, 255 for ignored ones among them.
        file: the list of the masks.

    Raises:
        InputError: all pixels are ignored, or all but those of the background, as in masks that are black and white.
    """
    if set(labels) <= {IGNORED}:
        raise InputError(
            f"{file}: no pixel of its masks counts, since all labels are 255, which means ignored. Give masks with "
            "labels from 0 on, or another list with --data.lists.train, --data.lists.val or --data.lists.test."
        )
    if set(labels) == {0, IGNORED}:
        raise InputError(
            f"{file}: its masks have the labels 0 and 255 alone, and 255 means ignored: only the background is left, "
            "so a model that finds nothing would have a mean IoU of 1. If 255 stands for the foreground, write 1 in "
            "its place into all masks, in Python, by: from PIL import Image; mask = Image.open('mask.png'); "
            "mask.point([*range(255), 1]).save('mask.png')"
        )


def report_missing_classes(labels: Collection[int], file: Path, names: Sequence[str], named_in: Path | None) -> None:
    """Warn of classes that no training mask has.

    Args:
        labels: as of :func:`require_counting_pixels`.
        file: the list of the training masks.
        names: of the classes.
        named_in: the file that names them; None if they are taken for Pascal VOC's.

    Raises:
        InputError: the masks have the first few of Pascal VOC's labels and no other, but nobody said that they are
            Pascal VOC's.
    """
    missing = [label for label in range(len(names)) if label not in labels]
    if not missing:
        return
    present = missing[0]
    first_few = missing == list(range(present, len(names)))
    if named_in is None and first_few and present > 1:
        raise InputError(
            f"{file}: its masks have the labels 0 to {present - 1} and no other, so their classes are hardly Pascal "
            f"VOC's {len(names)}, for which they are taken because no file names them. Name the classes, one a line, "
            f"in a file classes.txt beside JPEGImages, or in one of --data.classes; {present} classes need "
            f"--model.num_classes={present}."
        )
    named = ", ".join(f"{names[label]} ({label})" for label in missing)
    doubt = f" Does {named_in} name the classes of these masks?" if first_few and named_in else ""
    rank_zero_warn(
        f"{file}: its masks have no pixel of {len(missing)} of the {len(names)} classes, which the model cannot learn: "
        f"{named}.{doubt}"
    )
