"""The Hugging Face hub where it cannot be reached: what was downloaded before is used, and one line says so."""

import re
from functools import cache
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_info

TIMEOUT = 10  # seconds


def look_for_hub(name: str) -> None:
    """Find out whether the hub can be reached for something, before its libraries are asked to load it.

    Where it cannot, they take from now on what was downloaded before, instead of trying again for a minute.

    Args:
        name: on the hub, such as ``facebook/flava-full``; nothing is asked for a path.
    """
    if re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name) and not Path(name).exists():
        _look()


@cache
def _look() -> None:
    from huggingface_hub import constants, get_session  # what comes from files needs none of it

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # whose class belongs to the HTTP library that the hub's own uses
        import datasets.config

        rank_zero_info(f"{constants.ENDPOINT} does not answer ({error}): only what was downloaded before is used.")
        constants.HF_HUB_OFFLINE = True
        datasets.config.HF_HUB_OFFLINE = True  # which it has taken over when it was imported
