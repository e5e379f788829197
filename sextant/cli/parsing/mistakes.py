"""What a parser says of a mistake, in one line that names the setting, the file and the line, and the nearest name."""

import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from sextant import strategies
from sextant.cli.parsing.config_files import is_argument, place_of

#: Lines that do not explain a mistake: what was tried as well, repeated values, types of Python's.
NOISE = re.compile(
    r"\s*-?\s*(Does not validate against|Subtypes:|Errors:|Expected a <class 'NoneType'>|Expected a NoneType|See:|"
    r"Given value|Expected a path but .* either not accessible or invalid|Not a valid subclass of|"
    r"Subclass types expect one of|a class path \(str\)|a dict )"
)
KEY = re.compile(r"Parser key \"([\w.+]+)\":\s*")
UNKNOWN = re.compile(
    r"(?:Subcommand '\w+' does not accept option|Option|Group '\w+' does not accept option) "
    r"'([\w.+-]+)'(?: is not accepted)?"
)
MOST_NAMES = 30  # that are listed


def message_of(text: str, arguments: Sequence[str]) -> str:
    """A parser's message as a person understands it.

    Args:
        text: what the parser says, in lines.
        arguments: of the command.
    """
    file, text = _split_file(text)
    key, reasons = "", list[str]()
    for line in text.splitlines():
        piece = "" if NOISE.match(line) else line.strip(" -")
        # Keys are said from the outside to the inside, each before what is wrong with it.
        while found := KEY.match(piece):
            key, piece = _inner(key, found[1]), piece[found.end() :]
        if found := UNKNOWN.match(piece):
            rest = re.sub(r"(?<=Did you mean )(?=\w)", f"{key}." if key else "", piece[found.end() :])
            key, piece = _inner(key, found[1]), f"there is no such setting.{rest}"
        if piece:
            reasons.append(_plain(piece))
    what = " ".join(_most_telling(reasons))
    if key and is_argument(key, arguments):
        return f"--{key}: {what}"
    place = (place_of(key, arguments) if key else None) or file
    return ": ".join(part for part in (place, key, what) if part)


def _most_telling(reasons: Sequence[str]) -> list[str]:
    """Of what is said of all types that a setting may have, what a person meant most likely."""
    reasons = list(dict.fromkeys(reasons))
    reasons = [reason for reason in reasons if reason != "there is no such setting."] or reasons
    if classes := [reason for reason in reasons if reason.startswith("there is no class")]:
        return classes[:1]
    choices = [found[1] for reason in reasons if (found := re.match(r"it must be one of (.*)\.$", reason))]
    others = [reason for reason in reasons if not reason.startswith("it must be one of")]
    return [f"it must be one of {', '.join(choices)}.", *others] if len(choices) > 1 else reasons


def _inner(outer: str, key: str) -> str:
    """A key within another one, which may be part of it already, or say it once more."""
    if not outer or key.startswith(f"{outer}."):
        return key
    return outer if f".{outer}".endswith(f".{key}") else f"{outer}.{key}"


def unknown_arguments(words: Iterable[str], names: Iterable[str]) -> str:
    """What to say of arguments that a command does not know.

    Args:
        words: the arguments.
        names: of the settings that there are.
    """
    known, sentences = list(names), []
    for word in words:
        name = word.lstrip("-").partition("=")[0]
        if word.startswith("-"):
            sentences.append(f"{word}: there is no such setting. {did_you_mean(name, known)}".strip())
        elif "=" in word:
            sentences.append(f"{word}: a setting begins with two dashes: --{word}")
        else:
            sentences.append(f"{word}: this belongs to no setting.")
    return "\n".join(sentences)


def _split_file(text: str) -> tuple[str | None, str]:
    """The file that a message begins with, and the rest."""
    found = re.match(r"(\S+\.(?:ya?ml|json)): ", text)
    return (found[1], text[found.end() :]) if found else (None, text)


def _plain(reason: str) -> str:
    """A reason without names of Python's types."""
    reason = re.sub(r"Expected an? <class '(\w+)'>\.?", r"it must be of type \1.", reason)
    reason = re.sub(r"Expected an? typing\.Literal\[(.*?)\]\.?", r"it must be one of \1.", reason)
    reason = re.sub(r"Got value: (.*)", r"It is \1.", reason)
    reason = re.sub(r"Not of type \w+: (.*) does not conform to restriction v", r"it is \1, and must be ", reason)
    reason = re.sub(r"the following arguments are required: (.*)", r"\1 must be given.", reason)
    reason = re.sub(r"Problem with given class_path '([\w.]+)':", r"\1:", reason)
    if library := re.search(r"No module named '([\w.]+)'", reason):
        what = library[1].partition(".")[0]
        linux = " It is for Linux only." if what in ("torchrec", "fbgemm_gpu") else ""
        reason = re.sub(r"No module named '.*?'", f"it needs {what}, which is not installed here.{linux}", reason)
    if missing := re.search(
        r"module '([\w.]+)' has no attribute '(\w+)'|Expected a dot import path string: (\w+)", reason
    ):
        name = missing[3] or f"{missing[1]}.{missing[2]}"
        reason = f"there is no class {name}. {_class_like(name)}"
    return reason.strip()


def _class_like(path: str) -> str:
    """Which class may be meant by a path or a name that is none."""
    module, _, name = path.rpartition(".")
    if name == strategies.NAME:
        return f"Did you mean {strategies.MODULE}.{name}?"
    names = dir(sys.modules[module]) if module in sys.modules else _known_classes()
    return did_you_mean(name, (each for each in names if each[:1].isupper()))


def _known_classes() -> Iterable[str]:
    """The names of all classes that a configuration may be made of, as far as they are imported."""
    from lightning.pytorch import Callback, LightningModule
    from lightning.pytorch.loggers import Logger
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    bases: list[type] = [Callback, Logger, Optimizer, LRScheduler, LightningModule]
    for base in bases:
        bases += base.__subclasses__()
        yield base.__name__


def did_you_mean(name: str, names: Iterable[str], listed: bool = False) -> str:
    """A sentence with the nearest of some names.

    Args:
        name: that is wrong.
        names: those that there are.
        listed: whether to list them, unless there are too many.
    """
    known = sorted(set(names))
    near = get_close_matches(name.replace("-", "_"), known, 1, 0.7)
    sentences = [f"Did you mean {near[0]}?"] if near else []
    if listed and 0 < len(known) <= MOST_NAMES:
        sentences.append(f"There are: {', '.join(known)}.")
    return " ".join(sentences)
