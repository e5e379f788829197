"""What the tests of the app need, and what comes of a test that lacks it."""

import importlib.util
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.app.conftest import require_libraries, require_programs

REQUIREMENTS = pytest.mark.parametrize(
    ("require", "module", "find"),
    [(require_programs, shutil, "which"), (require_libraries, importlib.util, "find_spec")],
    ids=["programs", "libraries"],
)


@REQUIREMENTS
@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_test_that_lacks_something_fails_in_ci_and_is_skipped_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
    require: Callable[..., None],
    module: Any,
    find: str,
    ci: str,
    outcome: type[BaseException],
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(module, find, lambda name: None if name == "absent" else object())
    require("present")
    with pytest.raises(outcome, match="absent is missing; "):
        require("present", "absent")
