"""What a command says of its settings, those of the workload first: ``fit --config configs/WORKLOAD.yaml --help``."""

import json
import re
import shutil
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Collection, Iterator
from inspect import cleandoc
from pkgutil import resolve_name
from typing import Any

from jsonargparse import ArgumentParser, Namespace

#: Columns of what is not a terminal, and the most that are used of one.
WIDTH, WIDEST = 80, 120
#: Where the explanation of a setting begins, in a line of its own if the name and the value are longer.
COLUMN = 34
#: The settings of a workload, which are shown first; those of the Trainer are the last.
WORKLOAD, TRAINER = ("model", "data"), "trainer"


def command_help(parser: ArgumentParser, config: Namespace, linked: Collection[str]) -> list[str]:
    """Lines with the settings of a command in groups, each with its value and a sentence.

    Args:
        parser: of the command.
        config: the values, as the command's other arguments say them.
        linked: settings that follow from others, which are left out.
    """
    lines: list[str] = []
    for part in WORKLOAD:
        if config.get(part) is not None:
            path = config[part].class_path
            lines += [
                "",
                f"{part}: {path}",
                *textwrap.wrap(cleandoc(resolve_name(path).__doc__ or "").partition("\n")[0]),
            ]
            lines += _of_class(f"{part}.", config[part], linked)
    groups: dict[str, list[str]] = {"": []}
    for action in parser._actions:
        group, _, setting = action.dest.partition(".")
        if group not in WORKLOAD:
            groups.setdefault(group if setting else "", []).extend(_setting("", action, config, linked))
    groups[TRAINER] = groups.pop(TRAINER, [])  # to the end
    for group, settings in groups.items():
        lines += ["", f"{group or 'the run'}:", *settings] if settings else []
    return lines


def _of_class(prefix: str, config: Namespace, linked: Collection[str]) -> Iterator[str]:
    """The settings of the class that a part of a configuration names."""
    parser = ArgumentParser()
    parser.add_class_arguments(resolve_name(config.class_path), as_group=False, fail_untyped=False)
    for action in parser._actions:
        yield from _setting(prefix, action, config.get("init_args") or Namespace(), linked)


def _setting(prefix: str, action: Action, config: Namespace, linked: Collection[str]) -> Iterator[str]:
    name, value = f"{prefix}{action.dest}", config.get(action.dest)
    is_class = isinstance(value, Namespace) and "class_path" in value
    is_group = isinstance(value, Namespace) and not is_class  # its settings come by themselves
    if action.dest not in config or action.dest == "config" or action.help == SUPPRESS or is_group or name in linked:
        return
    yield from _paragraph(f"  --{name}={value.class_path if is_class else _text(value)}", action.help or "")
    if is_class:
        yield from _of_class(f"{name}.", value, linked)


def _paragraph(left: str, text: str) -> Iterator[str]:
    """Lines with a setting on the left, and the first sentence about it on the right."""
    width = min(shutil.get_terminal_size((WIDTH, 1)).columns, WIDEST)
    plain = re.sub(r":\w+:(?=`)", "", " ".join(text.split())).replace("``", "`")
    right = textwrap.wrap(re.split(r"(?<=\.) (?=[A-Z])", plain)[0], width - COLUMN)
    if len(left) <= COLUMN - 2 and right:
        yield f"{left:{COLUMN}}{right.pop(0)}"
    else:
        yield from textwrap.wrap(
            left, width, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
        )
    yield from (f"{'':{COLUMN}}{line}" for line in right)


def _text(value: Any) -> str:
    """A value as a command is given it; of objects in a list, the names of their classes."""
    if isinstance(value, list | tuple):
        between = ", " if any(isinstance(each, Namespace) for each in value) else ","
        return f"[{between.join(_text(each) for each in value)}]"
    if isinstance(value, Namespace):
        return str(value.get("class_path", "...")).rpartition(".")[2]
    return value if isinstance(value, str) else json.dumps(value, default=str)
