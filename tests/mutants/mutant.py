"""Mutants: the project's files with one fault in them."""

from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Mutant:
    """A fault in a file.

    Args:
        file: relative to the project's folder.
        fault: what is wrong then.
        old: text that stands in the file once.
        new: in its place.
        tests: files and folders of tests that may be expected to notice it, relative to the project's folder.
    """

    file: str
    fault: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}"

    def source(self) -> str:
        """The file with the fault in it.

        Raises:
            ValueError: the old text does not stand in the file, or more than once.
        """
        source = (ROOT / self.file).read_text(encoding="utf-8")
        if source.count(self.old) != 1:
            raise ValueError(
                f"{self}: the old text stands there {source.count(self.old)} times. Write the fault for the file as it "
                "is now, or remove it from the list."
            )
        return source.replace(self.old, self.new)


def all_mutants() -> list[Mutant]:
    """Those of all lists beside this file."""
    return [
        Mutant(**entry | {"tests": tuple(entry["tests"])})
        for file in sorted(Path(__file__).parent.glob("*.yaml"))
        for entry in yaml.safe_load(file.read_text(encoding="utf-8"))
    ]
