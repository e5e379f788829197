"""An exported file and its description beside it, which are whole or absent."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.errors import InputError


class ExportedFile:
    """Where an export goes.

    Args:
        output: the file's path. The description is ``<output>.json``.
        suffix: the ending that the format's files have.
        overwrite: whether a file that is there may be replaced.

    Raises:
        InputError: the path has another ending, is taken, or is in no folder that can be made.
    """

    def __init__(self, output: Path, suffix: str, overwrite: bool) -> None:
        self.path = output
        self.description = output.with_name(f"{output.name}.json")
        if output.suffix != suffix:
            raise InputError(f"{output}: a file of this format ends in {suffix} (--output).")
        for path in (self.path, self.description):
            if path.is_dir() or (path.exists() and not overwrite):
                raise InputError(
                    f"{path}: it exists already. Give another --output, or replace it with --overwrite=true."
                )
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{output.parent}: no folder can be made there ({error.strerror}); see --output."
            ) from error

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """A path to write to, which is removed if :meth:`keep` is not called.

        Raises:
            InputError: nothing can be written there.
        """
        try:
            folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", suffix=".part", dir=self.path.parent))
        except OSError as error:
            raise InputError(
                f"{self.path.parent}: it cannot be written to ({error.strerror}); see --output."
            ) from error
        try:
            yield folder / self.path.name
        except OSError as error:
            raise self._not_written(error) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _not_written(self, error: Exception) -> InputError:
        kept = "What was there is as it was." if self.path.exists() else "No file was left behind."
        return InputError(
            f"{self.path}: the file could not be written ({error}). {kept} Free some space and try again."
        )

    def keep(self, part: Path, description: dict[str, Any]) -> None:
        """Give an unfinished file its name, and write its description.

        Args:
            part: the unfinished file.
            description: plain values.
        """
        text = part.with_name(self.description.name)
        text.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        part.replace(self.path)
        text.replace(self.description)
