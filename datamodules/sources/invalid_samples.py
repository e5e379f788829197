"""What is done about invalid samples: those that are damaged, missing or of another format."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from sextant.atomic_folder import make_current
from sextant.errors import InputError

FORMAT = 2  # of the rules by which samples are read; another number checks them anew
NAMED = 10  # samples that a message names


def report_invalid_samples(
    reasons: Mapping[Any, str], total: int, kind: str, invalid_samples: Literal["error", "skip"]
) -> None:
    """Stop at invalid samples, or warn that they are left out; without any, do nothing.

    Args:
        reasons: why each of them, a file or what else a person finds it by, is invalid.
        total: the number of samples, valid ones included.
        kind: what they are, in the plural.
        invalid_samples: ``error`` stops, ``skip`` warns.

    Raises:
        InputError: there are invalid samples, and ``invalid_samples`` is ``error``.
    """
    if not reasons:
        return
    named = "".join(f"\n  {sample}: {reason}" for sample, reason in list(reasons.items())[:NAMED])
    more = f"\n  ... and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    message = f"{len(reasons)} of {total} {kind} cannot be used:{named}{more}"
    if invalid_samples == "error":
        raise InputError(f"{message}\nReplace them, or leave them out with --data.invalid_samples=skip.")
    rank_zero_warn(f"{message}\nThey are left out.")


def cached_reasons(stem: Path, fingerprint: str, find: Callable[[], Mapping[int, str]]) -> dict[int, str]:
    """Look for invalid samples once, and keep the answer until the files change.

    Args:
        stem: path of the cached answer without the fingerprint; no other data set has it.
        fingerprint: changes when the files do.
        find: gives, for the number of each invalid sample, why it is invalid.

    Raises:
        InputError: the answer cannot be written.
    """

    def check(folder: Path) -> Path:
        (folder / "invalid.json").write_text(json.dumps(find()))
        return folder

    found: dict[str, str] = json.loads((keep_current(stem, fingerprint, check) / "invalid.json").read_text())
    return {int(number): reason for number, reason in found.items()}


def keep_current(stem: Path, fingerprint: str, check: Callable[[Path], Path]) -> Path:
    """The folder of what is known of samples, made anew when the files or the rules of reading them change.

    Args:
        stem: as of :func:`cached_reasons`.
        fingerprint: changes when the files do.
        check: as ``make`` of :func:`~sextant.atomic_folder.make_current`.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        return make_current(stem, f"{FORMAT}-{fingerprint}", check)
    except OSError as error:
        raise InputError(
            f"{stem.parent}: what is known of the samples could not be written ({error}). Nothing was kept; free some "
            "space or choose another place with --data.cache."
        ) from error
