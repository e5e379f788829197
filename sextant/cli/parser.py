"""A parser of commands whose errors are one message."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionSubCommands, Namespace
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from sextant.errors import InputError


class OneErrorParser(LightningArgumentParser):
    """A parser whose errors are one message instead of the whole usage.

    Args:
        shared_config: the file that is loaded first; those beside it are the workloads that a message names.
        options: those of Lightning's parser.
    """

    def __init__(self, *args: Any, shared_config: Path | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shared_config = shared_config

    @override
    def add_subcommands(self, *args: Any, **options: Any) -> ActionSubCommands:
        self.commands = super().add_subcommands(*args, **options)
        return self.commands

    @override
    def parse_path(self, path: str | os.PathLike[str], *args: Any, **options: Any) -> Namespace:
        try:
            config: Namespace = super().parse_path(path, *args, **options)
            return config
        except (InputError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{path}: {error}") from error

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        message = shorten(message)
        if re.match(r"the following arguments are required: .*\.(data|model)\b", message) and self.shared_config:
            beside = self.shared_config.parent.glob("*.yaml")
            workloads = sorted(file.stem for file in beside if file.name != self.shared_config.name)
            message += f"\nName a workload with --config configs/NAME.yaml, where NAME is {' or '.join(workloads)}."
        raise InputError(f"{message}\nSee: python {self.prog.replace(' [options]', '')} --help")


def shorten(message: str) -> str:
    """A parser's message without what does not explain the mistake: type names and repeated values."""
    noise = re.compile(
        r"\s*(Does not validate against|Subtypes:|Errors:|- Expected a <class 'NoneType'>|See:|Given value)"
    )
    kept = "\n".join(line for line in message.splitlines() if not noise.match(line))
    nested = re.search(r"NestedArg\(key='([^']+)'", message)
    key = re.match(r'Parser key "([^"]+)":', message)
    if nested and key:
        kept = kept.replace(key[0], f"--{key[1]}.{nested[1]}:", 1)
    return kept


def refuse_other_encodings(arguments: Sequence[str]) -> None:
    """Refuse arguments that no configuration can hold.

    Raises:
        InputError: an argument, such as the name of a file, is not UTF-8.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{argument}: this is not UTF-8, so no configuration can hold it. Rename the file, or give the folder "
                "that it is in."
            ) from None
