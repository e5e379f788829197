"""Data sets of Hugging Face datasets, from the hub or from a folder."""

from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.files.hub import look_for_hub


def load_splits(name: str, config: str | None, cache: Path, otherwise: str) -> Any:
    """Load all splits of a set.

    Args:
        name: of a set on the hub, or a folder that ``save_to_disk`` wrote or that holds Parquet or Arrow files.
        config: which configuration of a set on the hub.
        cache: folder for sets that were converted to Arrow; downloads are in the Hugging Face hub's own (HF_HOME).
        otherwise: what to do where there is no set, for the error.

    Returns:
        The ``DatasetDict``.

    Raises:
        InputError: the set cannot be loaded.
    """
    import datasets  # takes a second that other sources need not wait for

    folder = Path(name)
    look_for_hub(name)
    try:
        if (folder / "dataset_dict.json").exists():
            return datasets.load_from_disk(name)
        if folder.is_dir():
            return datasets.load_dataset(name, cache_dir=str(cache / "huggingface"))
        return datasets.load_dataset(name, config, cache_dir=str(cache / "huggingface"))
    # What a damaged file of a set raises depends on what it lacks.
    except (
        *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError),
        datasets.exceptions.DatasetsError,
    ) as error:
        first_line = str(error).strip().split("\n")[0]
        raise InputError(
            f"{name}: this set cannot be loaded ({type(error).__name__}: {first_line}). Check the name (data.dataset), "
            f"its configuration (data.dataset_config) and the network, {otherwise}."
        ) from error
