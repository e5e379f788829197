"""Pretrained weights of torchvision's networks, by their name or from a file."""

import pickle
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import get_model_weights

from sextant.errors import InputError


def read_weights(network: str, weights: str, key: str) -> dict[str, Tensor]:
    """The state dict of a network.

    Args:
        network: torchvision's name of it, such as ``resnet50``.
        weights: a name of torchvision's (``IMAGENET1K_V1``, ``DEFAULT``; downloaded on first use), or the path of a
            file with a state dict or a checkpoint of this project.
        key: the setting that names them, for errors.

    Raises:
        InputError: there are no such weights, or they cannot be downloaded or read.
    """
    if not Path(weights).suffix:
        names = get_model_weights(network)
        if weights not in names.__members__:
            raise InputError(
                f"{key}: {network} has no weights named {weights!r} in torchvision; it has "
                f"{', '.join(names.__members__)}. The path of a file needs its suffix (.pt, .pth, .ckpt)."
            )
        try:
            return names[weights].get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{key}: {weights} could not be downloaded ({error}). Try again, or give a file."
            ) from error
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{weights}: there is no such file ({key}).") from error
    # What a damaged file raises depends on where the damage is.
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise InputError(f"{weights}: no weights can be read from it ({key}); the file may be damaged.") from error
    if isinstance(state, dict):  # of Lightning, of torchvision's references, or plain
        state = state.get("state_dict", state.get("model", state))
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{weights}: it holds no state dict ({key}). Give the weights of a {network}.")
    return {name.removeprefix("network."): value for name, value in state.items()}
