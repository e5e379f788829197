"""The places that a command writes to, where they are URLs."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from sextant.cli.runs import loggers_of
from sextant.errors import InputError
from sextant.files.location import RemotePath, is_url, location

#: The settings that say where a run keeps what is no log.
KEPT = ("trainer.default_root_dir", "best_checkpoint.dirpath")


def settle_urls(config: Namespace) -> None:
    """Take URLs of this machine's file system, as ``file:///runs``, for paths, and refuse others for logs.

    That of ``default_root_dir`` stays a URL, by which it is known that the run is kept there, and becomes absolute.

    Raises:
        InputError: a log cannot be kept at its URL.
    """
    logs = [(logger.get("init_args"), "save_dir") for logger in loggers_of(config)]
    for settings, key in [*logs, *((config, key) for key in KEPT)]:
        place: Any = settings.get(key) if settings else None
        if not isinstance(place, str) or not is_url(place):
            continue
        found = location(place)
        if isinstance(found, Path):
            settings[key] = f"file://{found.absolute()}" if key == "trainer.default_root_dir" else str(found)
        elif key == "save_dir":
            raise InputError(
                f"--trainer.logger.init_args.save_dir={place}: a log grows and is cut, which cannot be done there. "
                "Leave it on this machine, and give the URL as --trainer.default_root_dir: the run's checkpoints and "
                "configuration are kept there."
            )


def check_places(config: Namespace) -> None:
    """Require that what a run keeps at URLs can be written there.

    Raises:
        InputError: it cannot.
    """
    for key in KEPT:
        place = location(config.get(key) or ".")
        if isinstance(place, RemotePath):
            try:
                place.try_writing()
            except OSError as error:
                raise InputError(
                    f"{place}: the run cannot be kept there ({error}). Check the address and your credentials, or "
                    f"choose another place with --{key}."
                ) from error
