"""The prompts that ``predict`` continues."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from sextant.errors import InputError
from sextant.files.text_file import entries


class Prompts(Dataset):
    """Batches of ``prompt``, a list of texts, and ``index`` int64 (B,).

    Args:
        prompts: the texts.
        names: by which a person finds each.
    """

    def __init__(self, prompts: list[str], names: list[str]) -> None:
        self.prompts = prompts
        self.names = names

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, indices: list[int]) -> dict[str, Any]:
        return {"prompt": [self.prompts[i] for i in indices], "index": torch.tensor(indices)}


def read_prompts(prompt: str | None, file: Path | None) -> Prompts:
    """The prompt that is given, or those of a file.

    Args:
        prompt: a text.
        file: with one prompt a line.

    Raises:
        InputError: neither or both are given, the file cannot be read, or a prompt is empty.
    """
    if prompt is not None and file is not None:
        raise InputError("Give either --data.prompt or --data.prompts, not both.")
    if file is not None:
        return _read_file(file)
    if prompt is None:
        raise InputError(
            "There is no prompt to continue: give some words with --data.prompt='...', or a file with one prompt a "
            "line with --data.prompts=FILE."
        )
    if not prompt.split():
        raise InputError("The prompt is empty (data.prompt). Give at least one word; <eos> begins a new line.")
    return Prompts([prompt], ["prompt"])


def _read_file(file: Path) -> Prompts:
    if not file.is_file():
        raise InputError(f"{file}: there is no such file (data.prompts). It holds one prompt a line.")
    prompts = {f"{file}:{number}": line.strip() for number, line in entries(file, "a prompt")}
    if not prompts:
        raise InputError(f"{file}: the file is empty (data.prompts). It holds one prompt a line.")
    for name, prompt in prompts.items():
        if not prompt:
            raise InputError(
                f"{name}: the prompt is empty. Remove the line, or give at least one word; <eos> begins a new line."
            )
    return Prompts([*prompts.values()], [*prompts])
