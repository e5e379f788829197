"""A JSON schema of the configurations, by which editors complete and check them: ``fit --print_schema``."""

import json
import re
from argparse import SUPPRESS, Action
from collections.abc import Iterator
from functools import cached_property
from inspect import isclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_args

import torch
import yaml
from jsonargparse import ArgumentParser
from jsonargparse._completions_jsonschema import ParserJsonschema, anyof_schema
from lightning.pytorch import Callback
from typing_extensions import override

#: Settings of a list to which another configuration adds, as in ``callbacks+``.
LISTS = ("callbacks", "plugins", "logger")


class PrintSchema(Action):
    """An option that prints the schema of a command's configurations and ends the command.

    The classes that it describes are those that the configurations beside the shared one name, and torch's optimizers
    and schedules; what is given to others is not checked.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**(options | {"nargs": 0, "default": SUPPRESS, "help": SUPPRESS}))

    @override
    def __call__(self, parser: Any, *args: Any, **options: Any) -> None:
        print(json.dumps(config_schema(parser, parser.shared_config.parent), indent=1))
        parser.exit()


def config_schema(parser: ArgumentParser, configs: Path) -> dict[str, Any]:
    """The schema of a command's configurations, of which each may be laid over another.

    Args:
        parser: of the command.
        configs: the folder of the configurations.
    """
    schema: dict[str, Any] = _settings_only(_Schema(configs).generate(parser))
    schema["description"] = "A configuration of train.py, or one that is laid over it."
    trainer = schema["properties"]["trainer"]["properties"]
    trainer |= {f"{name}+": trainer[name] for name in LISTS}
    return schema


def _settings_only(value: Any) -> Any:
    """A part of a schema without the key of the schema, which YAML has in a comment, and without what only prints."""
    if isinstance(value, dict):
        return {
            key: _settings_only({name: each for name, each in inner.items() if not name.startswith(("$", "print_"))})
            if key == "properties"
            else _settings_only(inner)
            for key, inner in value.items()
        }
    return [_settings_only(each) for each in value] if isinstance(value, list) else value


class _Schema(ParserJsonschema):
    """jsonargparse's, of known classes instead of all that happen to be imported, and with nothing required."""

    def __init__(self, configs: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.configs = configs

    @cached_property
    def classes(self) -> dict[str, type]:
        """The classes that are described, by their paths."""
        files = sorted(self.configs.rglob("*.yaml"))
        paths = {path for file in files for path in _class_paths(yaml.safe_load(file.read_text(encoding="utf-8")))}
        for module in (torch.optim, torch.optim.lr_scheduler):
            paths |= {f"{module.__name__}.{name}" for name in module.__all__}
        found = {path: resolve_name(path) for path in sorted(paths)}
        return {path: each for path, each in found.items() if isclass(each)}

    @override
    def subclass_def(self, class_type: type, action: Any) -> dict[str, Any]:
        known = [path for path, each in self.classes.items() if issubclass(each, class_type)]
        of_others = self.unknown_class_path_schema()
        of_others["properties"]["class_path"] = {"type": "string", "not": {"enum": list(self.classes)}}
        described = [self.class_path_schema(path, action) | {"required": []} for path in known]
        if issubclass(class_type, Callback) and class_type is not Callback:  # of a group, whose settings are its own
            described.append(self.class_parser_schema(class_type, action))
        schema: dict[str, Any] = anyof_schema([{"type": "string"}, *described, of_others])
        return schema

    @override
    def callable_schema(self, typehint: Any, action: Any) -> dict[str, Any]:
        made = get_args(typehint)[-1]
        kinds = [self.class_ref(kind, action, subclass=True) for kind in get_args(made) or (made,) if isclass(kind)]
        schema: dict[str, Any] = anyof_schema([{"type": "string"}, *kinds])
        return schema

    @override
    def set_dest(
        self, schema: dict[str, Any], dest: str, dest_schema: dict[str, Any], required: bool, *more: Any
    ) -> None:
        super().set_dest(schema, dest, dest_schema, False, *more)


def _class_paths(value: Any) -> Iterator[str]:
    """The paths of classes that a part of a configuration names."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _class_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _class_paths(inner)
    elif isinstance(value, str) and re.fullmatch(r"[a-z_]\w*(\.[a-z_]\w*)*\.[A-Z]\w+", value):
        yield value
