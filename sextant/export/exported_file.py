"""An exported file and its description beside it, which are whole or absent."""

import glob
import hashlib
import json
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sextant.atomic_folder import put_in_place
from sextant.errors import InputError


class ExportedFile:
    """Where an export goes.

    Args:
        output: the file's path. The description is ``<output>.json``. Folders are made as they are needed.
        suffix: the ending that the format's files have.
        overwrite: whether a file that is there may be replaced.

    Raises:
        InputError: the path has another ending, is taken, or is none that a file can have.
    """

    def __init__(self, output: Path, suffix: str, overwrite: bool) -> None:
        self.path = output
        self.description = output.with_name(f"{output.name}.json")
        if output.suffix != suffix:
            raise InputError(f"--output={output}: a file of this format ends in {suffix}.")
        for path in (self.path, self.description):
            try:
                mode = path.stat().st_mode
            except FileNotFoundError:
                continue
            except OSError as error:
                raise InputError(f"--output={output}: no file can be written there ({error.strerror}).") from error
            if stat.S_ISDIR(mode):
                raise InputError(f"{path}: it is a folder. Give the path of a file as --output.")
            if not overwrite:
                raise InputError(
                    f"{path}: it exists already. Give another --output, or replace it with --overwrite=true."
                )

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """A path to write to, which is removed if :meth:`keep` is not called.

        Raises:
            InputError: it could not be written.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left_behind in folder.glob(f".{glob.escape(self.path.name)}.*.part"):  # by a process that was killed
                shutil.rmtree(left_behind, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".{self.path.name}.", suffix=".part", dir=folder) as part:
                yield Path(part) / self.path.name
        except OSError as error:
            kept = "What was there is as it was." if self.path.exists() else "No file was left behind."
            raise InputError(f"{self.path}: it could not be written ({error}). {kept}") from error

    def keep(self, part: Path, description: dict[str, Any]) -> None:
        """Give an unfinished file its name, and write its description.

        Args:
            part: the unfinished file.
            description: plain values, to which the file's name, size and hash are added.
        """
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        what = {"file": self.path.name, "file_bytes": part.stat().st_size, "sha256": digest}
        text = part.with_name(self.description.name)
        text.write_text(json.dumps(what | description, indent=2) + "\n", encoding="utf-8")
        self.description.unlink(missing_ok=True)  # of an older file: a description is never beside another file
        put_in_place(part, self.path)
        put_in_place(text, self.description)
