"""Writing a synthetic set."""

from collections.abc import Callable
from pathlib import Path

from sextant.atomic_folder import make_folder
from sextant.errors import InputError


def write_set(destination: Path, fill: Callable[[Path], Path]) -> None:
    """Write a set unless it is there, so that it is whole or absent.

    Args:
        destination: the folder of the set.
        fill: as of :func:`~sextant.atomic_folder.make_folder`.

    Raises:
        InputError: it cannot be written.
    """
    try:
        make_folder(destination, fill)
    except OSError as error:
        raise InputError(
            f"{destination}: the synthetic data could not be written ({error}). Nothing was kept; free some space, or "
            "choose another place with --data.cache."
        ) from error
