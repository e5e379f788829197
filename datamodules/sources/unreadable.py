"""What is done about files of a data set that cannot be read."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from sextant.atomic_folder import make_current
from sextant.errors import InputError

NAMED = 10  # files that a message names


def report_unreadable(faults: Mapping[Any, str], total: int, kind: str, unreadable: Literal["error", "skip"]) -> None:
    """Stop at files that cannot be read, or warn that they are left out; without any, do nothing.

    Args:
        faults: why each of them, a file or what else a person finds it by, cannot be read.
        total: how many files there are.
        kind: what they are, in the plural.
        unreadable: ``error`` stops, ``skip`` warns.

    Raises:
        InputError: there are such files, and they are to stop the run.
    """
    if not faults:
        return
    named = "".join(f"\n  {file}: {why}" for file, why in list(faults.items())[:NAMED])
    more = f"\n  ... and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    message = f"{len(faults)} of {total} {kind} cannot be used:{named}{more}"
    if unreadable == "error":
        raise InputError(f"{message}\nReplace them, or leave them out with --data.unreadable=skip.")
    rank_zero_warn(f"{message}\nThey are left out.")


def remembered_faults(stem: Path, fingerprint: str, find: Callable[[], Mapping[int, str]]) -> dict[int, str]:
    """Look for files that cannot be read once, and remember the answer until they change.

    Args:
        stem: where it is remembered, without the fingerprint; no other set has it.
        fingerprint: changes when the files do.
        find: why which of them, by number, cannot be read.
    """

    def check(folder: Path) -> Path:
        (folder / "faults.json").write_text(json.dumps(find()))
        return folder

    found: dict[str, str] = json.loads((make_current(stem, fingerprint, check) / "faults.json").read_text())
    return {int(number): why for number, why in found.items()}
