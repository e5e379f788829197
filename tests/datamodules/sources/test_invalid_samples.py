"""Invalid samples are named, and what is known of them is kept; where it cannot be, that is said."""

import warnings
from pathlib import Path

import pytest

from datamodules.sources.invalid_samples import NAMED, cached_reasons, report_invalid_samples
from sextant.errors import InputError


def test_answer_is_kept_until_the_files_change(tmp_path: Path) -> None:
    def ask(fingerprint: str, answer: dict[int, str]) -> dict[int, str]:
        return cached_reasons(tmp_path / "images", fingerprint, lambda: answer)

    assert ask("a", {3: "why"}) == {3: "why"}
    assert ask("a", {}) == {3: "why"}
    assert ask("b", {}) == {}


def test_full_disk_is_an_input_error_that_names_the_cache(tmp_path: Path) -> None:
    def fill() -> dict[int, str]:
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"No space left on device.*--data\.cache") as error:
        cached_reasons(tmp_path / "images", "a", fill)
    assert str(error.value).startswith(f"{tmp_path}: ")
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".lock"]


def test_cache_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match=r"--data\.cache") as error:
        cached_reasons(tmp_path / "cache" / "images", "a", dict)
    assert str(error.value).startswith(str(tmp_path / "cache"))


@pytest.mark.parametrize("count", [1, NAMED, NAMED + 1, NAMED + 7])
def test_first_samples_are_named_and_the_others_counted(count: int) -> None:
    reasons = {f"{i}.png": f"reason {i}" for i in range(count)}
    with pytest.raises(InputError) as error:
        report_invalid_samples(reasons, 50, "images", "error")
    first, *lines, last = str(error.value).splitlines()
    assert first == f"{count} of 50 images cannot be used:"
    assert last == "Replace them, or leave them out with --data.invalid_samples=skip."
    more = [f"  ... and {count - NAMED} more"] if count > NAMED else []
    assert lines == [*(f"  {i}.png: reason {i}" for i in range(min(count, NAMED))), *more]
    with pytest.warns(UserWarning, match=rf"{count} of 50 images[^~]*They are left out\."):
        report_invalid_samples(reasons, 50, "images", "skip")


def test_nothing_is_said_where_all_are_valid() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report_invalid_samples({}, 50, "images", "error")
        report_invalid_samples({}, 50, "images", "skip")
