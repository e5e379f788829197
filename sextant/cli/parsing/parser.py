"""A parser of commands whose errors are one message."""

import os
import re
from argparse import _HelpAction
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, NoReturn

from jsonargparse import ActionSubCommands, Namespace
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from sextant.cli.overview import COMMANDS, workload_files
from sextant.cli.parsing.command_help import command_help
from sextant.cli.parsing.config_files import config_files
from sextant.cli.parsing.mistakes import did_you_mean, message_of, unknown_arguments
from sextant.errors import InputError


class OneErrorParser(LightningArgumentParser):
    """A parser whose errors are one message instead of the whole usage.

    Args:
        shared_config: the file that is loaded first; those beside it are the workloads that a message names.
        arguments: of the command.
        options: those of Lightning's parser.
    """

    def __init__(
        self, *args: Any, shared_config: Path | None = None, arguments: Sequence[str] = (), **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.shared_config = shared_config
        self.arguments = arguments
        self.linked: list[str] = []  # settings that follow from others

    @override
    def link_arguments(self, source: Any, target: str, *args: Any, **options: Any) -> None:
        self.linked.append(target.replace(".init_args.", "."))
        super().link_arguments(source, target, *args, **options)

    @override
    def add_subcommands(self, *args: Any, **options: Any) -> ActionSubCommands:
        self.commands = super().add_subcommands(*args, **options)
        return self.commands

    @override
    def parse_path(self, path: str | os.PathLike[str], *args: Any, **options: Any) -> Namespace:
        given, self.arguments = self.arguments, [f"--config={path}"]  # what is wrong is in this file
        try:
            config: Namespace = super().parse_path(path, *args, **options)
            return config
        except (InputError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(str(error) if str(error).startswith(f"{path}") else f"{path}: {error}") from error
        finally:
            self.arguments = given

    @override
    def validate(self, *args: Any, **options: Any) -> None:
        try:
            super().validate(*args, **options)
        except KeyError as error:  # a setting that there is not; that of a class is found by a parser of the class
            text, parser = str(error), getattr(error, "subcommand_parser", self)
            if isinstance(parser, OneErrorParser) and (
                unknown := re.search(r"'([\w.+-]+)'(?: is not accepted)?$", text)
            ):
                error.args = (f"{text} {did_you_mean(unknown[1], parser.settings(), listed=True)}",)
            raise

    def settings(self) -> list[str]:
        """The names of the settings that the parser knows."""
        names = [action.dest for action in self._actions if not isinstance(action, _HelpAction | ActionSubCommands)]
        return [name for name in names if not name.endswith(".help") and not name.startswith("print_")]

    @override
    def format_help(self, *args: Any, **options: Any) -> str:
        if self.shared_config is None or not self.default_config_files:  # not of a command with a Trainer
            text: str = super().format_help(*args, **options)
            return text
        command = self.prog.split()[-1]
        after = self.arguments[self.arguments.index(command) + 1 :]
        words = [word for word in after if word not in ("-h", "--help")]
        is_named = any(re.match("(-c|--config|--model)(=|$)", word) for word in words)
        usage = f"usage: python {self._program()} --config configs/WORKLOAD.yaml [--SETTING=VALUE]"
        lines = [usage, "", COMMANDS[command]]
        if not is_named:
            files = ", ".join(file.stem for file in workload_files(self.shared_config))
            about = f"With --config, the settings of a workload (--model, --data) come first. Workloads: {files}."
            lines += ["", *wrap(about, 80)]
        lines += command_help(self, self.parse_args(words) if is_named else self.get_defaults(), self.linked)
        lines += ["", "--print_config=comments prints this as YAML, with the whole text of each.", ""]
        return "\n".join(lines)

    def _program(self) -> str:
        return self.prog.replace(" [options]", "")

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if self.shared_config is None:  # of a class: who parses the command says the rest
            if unknown := re.match(r"unrecognized arguments: --([\w.+-]+)", message):
                near = did_you_mean(unknown[1], self.settings(), listed=True)
                message = f"Option '{unknown[1]}' is not accepted {near}"
            raise InputError(message) from ex
        if unknown := re.match("unrecognized arguments: (.*)", message):
            message = unknown_arguments(unknown[1].split(), self.settings())
        elif missing := re.match("the following arguments are required: (.*)", message):
            names = [self._as_given(name) for name in missing[1].split(", ")]
            message = f"{' and '.join(names)} must be given."
            if {"--data", "--model"} & set(names):
                workloads = " or ".join(file.stem for file in workload_files(self.shared_config))
                message += f" Name a workload with --config configs/NAME.yaml, where NAME is {workloads}."
        elif re.match('expected "subcommand"|argument subcommand: invalid choice', message):
            wrong = re.search("invalid choice: '(.*?)'", message)
            begin = f"there is no command {wrong[1]}. {did_you_mean(wrong[1], COMMANDS)}" if wrong else ""
            message = f"{begin.strip() or 'Name a command.'} The commands are {', '.join(COMMANDS)}."
        else:
            message = message_of(message, self.arguments)
        workload = "".join(f" --config {file}" for file in config_files(self.arguments)[:1])
        raise InputError(f"{message}\nSee: python {self._program()}{workload} --help") from ex

    def _as_given(self, name: str) -> str:
        """How a command is given what the parser calls by the command's name and its own, such as ``fit.data``."""
        command, _, setting = name.rpartition(".")
        parser = self.commands.choices[command] if command else self
        positional = any(action.dest == setting and not action.option_strings for action in parser._actions)
        return setting.upper() if positional else f"--{setting}"


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
