"""Write a network to a file and load it again, with errors that say what the format lacks."""

import importlib.util
from pathlib import Path

from torch import Tensor

from sextant.errors import InputError
from sextant.export.formats.format import Format, Runner
from sextant.export.graph import ExportGraph


def need_libraries(*names: str) -> None:
    """Require libraries of the extra ``export``.

    Raises:
        InputError: one is not installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"This export needs {', '.join(missing)}, of the libraries for exports. Run it with them: uv run --extra "
            "export train.py export ..., or pip install executorch onnx onnxruntime onnxscript torchao."
        )


def write_and_load(kind: Format, name: str, graph: ExportGraph, path: Path) -> Runner:
    """Write a network, and load the file.

    Args:
        kind: the format.
        name: its name.
        graph: holds the network, in evaluation mode.
        path: where to.

    Raises:
        InputError: the format cannot hold the network, or its runtime cannot load the file, or later not run it; the
            message has what the library says of the operation.
        OSError: the file could not be written.
    """
    doing = "hold this model"
    try:
        kind.write(graph, path)
        doing = "load it again"
        run = kind.load(path)
    except OSError:
        raise
    except Exception as error:  # every library has kinds of its own
        raise InputError(f"{name} cannot {doing}: {operation_in(error)}. Nothing was written.") from error

    def run_or_say(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        try:
            return run(inputs)
        except Exception as error:  # likewise
            shapes = ", ".join(str(list(x.shape)) for x in inputs)
            raise InputError(
                f"{name} cannot run the file on inputs of {shapes}: {operation_in(error)}. Nothing was written."
            ) from error

    return run_or_say


def operation_in(error: BaseException) -> str:
    """What a library's error says of the operation that it stopped at."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:400]}" if lines else type(error).__name__
