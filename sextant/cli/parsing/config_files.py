"""The YAML files that a command is given: which ones go together, and where a setting stands in them."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from sextant.errors import InputError
from sextant.files.location import is_url
from sextant.files.text_file import read_text

SUFFIXES = (".yaml", ".yml", ".json")


def config_files(arguments: Sequence[str]) -> list[Path]:
    """The files of ``--config``, in their order.

    Args:
        arguments: of a command.
    """
    return [Path(word) for word in _given(arguments) if Path(word).is_file()]


def _given(arguments: Sequence[str]) -> list[str]:
    words = [str(word) for word in arguments]
    return [
        after if word == "--config" else word.partition("=")[2]
        for word, after in zip(words, [*words[1:], ""], strict=True)
        if word == "--config" or word.startswith("--config=")
    ]


def check_files(arguments: Sequence[str]) -> None:
    """Require that all files of a command can be read, and that those of ``--config`` make one workload.

    Args:
        arguments: of a command.

    Raises:
        InputError: there is none of a name, one is no text or no YAML, no file names a model, or several name
            workloads.
    """
    for word in _given(arguments):
        if Path(word).suffix in SUFFIXES and not is_url(word) and not Path(word).exists():
            raise InputError(f"--config={word}: there is no such file.{_near(Path(word))}")
    together = config_files(arguments)
    named = [Path(str(word).rpartition("=")[2]) for word in arguments]
    others = [file for file in named if file.suffix in SUFFIXES and file.is_file()]
    files = {file: _parsed(file) for file in dict.fromkeys([*others, *together])}
    _require_one_workload({file: files[file] for file in together if isinstance(files[file], dict)}, arguments)


def _require_one_workload(files: dict[Path, dict[str, Any]], arguments: Sequence[str]) -> None:
    names = {file: settings["name"] for file, settings in files.items() if isinstance(settings.get("name"), str)}
    if len(set(names.values())) > 1:
        raise InputError(
            f"{' and '.join(map(str, names))} are different workloads ({', '.join(names.values())}). Give one of them, "
            "and files that change some of its settings after it."
        )
    named = any(_names_class(settings.get("model")) for settings in files.values())
    named = named or any(str(word).split("=")[0] in ("--model", "--model.class_path") for word in arguments)
    if files and not named and any("model" in settings for settings in files.values()):
        last = list(files)[-1]
        raise InputError(
            f"{last} changes settings of a workload, and none is given. Give it before that: --config "
            f"configs/{last.name} --config {last}"
        )


def _near(file: Path) -> str:
    """A sentence with the file of the nearest name beside one that is not there, and the names there are."""
    beside = {each.name: each for each in sorted(file.parent.glob("*.yaml"))}
    names = [name for name in beside if name.startswith(file.stem)] or get_close_matches(file.name, beside, 1)
    near = [f" Did you mean {beside[name]}?" for name in names[:1]]
    return "".join([*near, f" In {file.parent} are {', '.join(beside)}." if beside else ""])


def _names_class(part: object) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and "class_path" in part)


def _parsed(file: Path) -> Any:
    try:
        return yaml.safe_load(read_text(file))
    except yaml.MarkedYAMLError as error:
        mark, begin = error.problem_mark or error.context_mark, error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        begun = "" if begin is None else f" ({error.context}, which begins in line {begin.line + 1})"
        raise InputError(f"{file}{line}: this is no YAML: {error.problem}{begun}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{file}: this is no YAML ({str(error) or 'it is nested too deep'}).") from error


def is_argument(key: str, arguments: Sequence[str]) -> bool:
    """Whether a command's arguments say a setting themselves, such as ``trainer.max_epochs``."""
    return any(str(word).split("=")[0].removesuffix("+") == f"--{key}" for word in arguments)


def place_of(key: str, arguments: Sequence[str]) -> str | None:
    """Where a command's files say a setting: the file and the line; None if none does.

    Args:
        key: of the setting, such as ``trainer.max_epochs``.
        arguments: of a command.
    """
    for file in reversed(config_files(arguments)):
        if (line := _line_of(yaml.compose(read_text(file)), key.split("."))) is not None:
            return f"{file}, line {line}"
    return None


def _line_of(node: yaml.Node | None, parts: Sequence[str]) -> int | None:
    """The line of a nested key; a class's ``init_args`` need not be named."""
    if not isinstance(node, yaml.MappingNode):
        return None
    for name, value in _entries(node):
        if name.value.removesuffix("+") == parts[0]:
            return name.start_mark.line + 1 if len(parts) == 1 else _line_of(value, parts[1:])
    inner = [value for name, value in _entries(node) if name.value == "init_args"]
    return _line_of(inner[0], parts) if inner else None


def _entries(node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    yield from ((name, value) for name, value in node.value if isinstance(name, yaml.ScalarNode))
