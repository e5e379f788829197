"""The guard around what is not trusted."""

import importlib
import sys

import pytest

from sextant.resume.no_imports import no_imports


def test_no_further_module_is_imported_within_and_all_are_after_it() -> None:
    sys.modules.pop("this", None)
    with pytest.raises(ImportError, match="this: nothing that only a checkpoint names"), no_imports():
        importlib.import_module("this")
    assert "this" not in sys.modules
    importlib.import_module("colorsys")


def test_modules_that_are_there_can_be_used() -> None:
    with no_imports():
        assert importlib.import_module("sys") is sys
