"""What is known of invalid samples is kept, and where it cannot be, that is said."""

from pathlib import Path

import pytest

from datamodules.sources.invalid_samples import cached_reasons
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
