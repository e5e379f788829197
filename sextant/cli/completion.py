"""Completion in bash and zsh, from the schema of the configurations: it imports nothing that takes long."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sextant.cli.overview import COMMANDS, workload_files

#: Completes what follows train.py, also after python and uv run, whose own words are left to the shell.
SCRIPT = """\
_train_py() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\\n'
    [[ $line =~ ([^ ]*train\\.py)\\ (.*) ]] || return 0
    COMPREPLY=($(python3 "${BASH_REMATCH[1]}" completion "${BASH_REMATCH[2]}" 2> /dev/null))
    [[ ${COMPREPLY[0]} != *[=.] ]] || compopt -o nospace
}
complete -o default -F _train_py python python3 uv train.py ./train.py"""


def completion(words: Sequence[str], shared_config: Path) -> None:
    """Print the shell's part of completion, or what a line may go on with.

    Args:
        words: nothing, or the line after the program's name.
        shared_config: the configuration of the Trainer; those beside it are the workloads.
    """
    print("\n".join(_candidates(words[0], shared_config)) if words else SCRIPT)


def _candidates(line: str, shared_config: Path) -> Iterator[str]:
    *before, word = line.split(" ")
    if not any(before):
        yield from (command for command in COMMANDS if command.startswith(word))
    elif before[-1] in ("--config", "-c"):
        files = (str(Path("configs") / file.name) for file in workload_files(shared_config))
        yield from (file for file in files if file.startswith(word))
    elif word.startswith("--") and "=" not in word:
        schema = json.loads((shared_config.parent / "schema.json").read_text(encoding="utf-8"))
        named = {path for file in re.findall(r"\S+\.yaml", line) for path in _class_paths(Path(file))}
        options = {f"--{name}=" for name in _names("", schema, schema["$defs"], named)} | {"--config", "--help"}
        # A level at a time: --d gives --data., and --data. its settings.
        level = re.compile(rf"{re.escape(word)}[^.=]*[.=]?")
        yield from sorted({found[0] for option in options if (found := level.match(option))})


def _class_paths(file: Path) -> list[str]:
    return re.findall(r"class_path: ([\w.]+)", file.read_text(encoding="utf-8")) if file.is_file() else []


def _names(prefix: str, schema: dict[str, Any], classes: dict[str, Any], named: set[str]) -> Iterator[str]:
    """The settings in a schema; of classes, those of the named ones."""
    for reference in re.findall(r"#/\$defs/(\w+)", schema.get("$ref", "")):
        yield from _names(prefix, classes[reference], classes, named)
    for part in schema.get("anyOf", ()):
        path = part.get("properties", {}).get("class_path", {}).get("const")
        if path in named:
            yield from _names(prefix, part["properties"]["init_args"], classes, named)
        elif path is None and "class_path" not in part.get("properties", {}):
            yield from _names(prefix, part, classes, named)
    for name, inner in schema.get("properties", {}).items():
        full = f"{prefix}{name}"
        yield full
        yield from _names(f"{full}.", inner, classes, named)
