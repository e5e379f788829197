"""A guard around the parsing of what is not trusted."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

from typing_extensions import override


class _NoModule(MetaPathFinder):
    @override
    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        raise ImportError(f"{name}: nothing that only a checkpoint names is imported")


@contextmanager
def no_imports() -> Iterator[None]:
    """A context in which no further module can be imported: an attempt raises an ``ImportError``."""
    finder = _NoModule()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
