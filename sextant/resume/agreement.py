"""What must agree between a checkpoint and the command that goes on from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.resume.settings import differences


def check_agreement(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Require that two configurations agree.

    Args:
        path: the checkpoint, for the message.
        old: the checkpoint's configuration.
        new: the command's.

    Raises:
        InputError: they differ; the message lists each key with both values.
    """
    found = list(differences(old, new))
    if not found:
        return
    lines = "".join(f"\n  {key}: checkpoint {a!r}, command {b!r}" for key, a, b in found)
    raise InputError(
        f"{path}: the checkpoint was made with other settings than this command has:{lines}\n"
        "Say which shall hold: --settings_from=checkpoint or --settings_from=command."
    )
