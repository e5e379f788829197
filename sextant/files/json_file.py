"""JSON files: what is wrong with one is an error that names it."""

import json
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.files.text_file import read_text


def read_json(file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: the file cannot be read, or it is no JSON.
    """
    return parse_json(read_text(file), str(file))


def parse_json(text: str, where: str) -> Any:
    """What JSON means.

    Args:
        text: the JSON.
        where: by which a person finds it, for the error.

    Raises:
        InputError: it is no JSON, nested too deep, or has texts that are not Unicode.
    """
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():  # of an escaped surrogate, which may lack its other half
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise InputError(f"{where}: the JSON is nested too deep to be read, so it is not what is meant.") from error
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: the JSON has half a surrogate pair, {error.object[error.start]!r}.") from error
    except ValueError as error:
        raise InputError(f"{where}: no JSON ({error}). It begins with {text[:200].rstrip()!r}.") from error
    return value
