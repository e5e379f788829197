"""A context in which no tensor is made that is larger than the memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from sextant.contracts import in_gb
from sextant.errors import InputError
from sextant.memory import available_memory, free_swap

LARGE = 2**28  # bytes after which it is looked how many are available
#: What makes tensors on the processor that are filled at once.
FACTORIES: frozenset[Callable[..., Any]] = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
)


class WithinMemory(TorchFunctionMode):
    """A context in which a tensor is an error, and is not made, if it is larger than the memory that is available.

    Raises:
        InputError: there would be one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unseen = 0  # bytes that were made since it was last looked

    @override
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func in FACTORIES and "out" not in options and torch.device(options.get("device") or "cpu").type == "cpu":
            plain = {key: value for key, value in options.items() if key not in ("device", "pin_memory", "generator")}
            self._look(func(*args, **plain, device="meta").nbytes)
        return func(*args, **options)

    def _look(self, size: int) -> None:
        self._unseen += size
        if self._unseen < LARGE:
            return
        self._unseen = 0
        processor = torch.device("cpu")
        available = available_memory(processor) + free_swap(processor)
        if size > available:
            raise InputError(
                f"There is not enough memory for the model: one of its tensors takes {in_gb(size)}, and "
                f"{in_gb(available)} are available (GB of 2^30 bytes). Make the model smaller (--model.*)."
            )
