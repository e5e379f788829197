"""Two optimizers as one: one for embedding tables, whose gradients are sparse, and one for everything else."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

from sextant.errors import InputError


class SparseAndDense(Optimizer):
    """Two optimizers that are stepped together.

    The optimizer state is kept by the names of the parameters, so that it depends neither on their order nor on which
    of the tables are optimized elsewhere.

    Args:
        sparse: of the tables. Its groups get the ``name`` "sparse": a strategy that optimizes tables by itself takes
            their learning rate from there.
        dense: of the others, whose groups get the ``name`` "dense".
        names: the names of all parameters.
    """

    def __init__(self, sparse: Optimizer, dense: Optimizer, names: Mapping[nn.Parameter, str]) -> None:
        for name, optimizer in (("sparse", sparse), ("dense", dense)):
            for group in optimizer.param_groups:
                group["name"] = name
        super().__init__([*sparse.param_groups, *dense.param_groups], {})
        self.sparse = sparse
        self.dense = dense
        self._names = names

    @override
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.sparse.step()
        self.dense.step()
        return loss

    def _named_indices(self, optimizer: Optimizer) -> Iterator[tuple[int, str]]:
        """For each parameter of an optimizer its index, which is its key in the state, and its name."""
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        return ((index, self._names[parameter]) for index, parameter in enumerate(parameters))

    @override
    def state_dict(self) -> dict[str, Any]:
        """The state of each parameter by its name, and the settings of the groups."""
        state: dict[str, Any] = {}
        groups: list[dict[str, Any]] = []
        for optimizer in (self.sparse, self.dense):
            own = optimizer.state_dict()
            state |= {name: own["state"][i] for i, name in self._named_indices(optimizer) if i in own["state"]}
            groups += [{k: v for k, v in group.items() if k != "params"} for group in own["param_groups"]]
        return {"state": state, "param_groups": groups}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state.

        Raises:
            InputError: it is of other parameters.
        """
        state = dict(state_dict["state"])
        groups = iter(state_dict["param_groups"])
        for optimizer in (self.sparse, self.dense):
            by_index = {i: state.pop(name) for i, name in self._named_indices(optimizer) if name in state}
            # An optimizer of another class than the checkpoint's has settings that are not in there.
            own = optimizer.state_dict()["param_groups"]
            loaded = [{**group, **next(groups), "params": group["params"]} for group in own]
            optimizer.load_state_dict({"state": by_index, "param_groups": loaded})
            # The groups of an optimizer are new dictionaries after this.
        self.param_groups = [*self.sparse.param_groups, *self.dense.param_groups]
        if state:
            raise InputError(
                f"The checkpoint's optimizer has a state for {next(iter(state))}, which this model does not have."
            )


class SparseAndDenseSchedule(LRScheduler):
    """The schedules of both optimizers, stepped together.

    Args:
        optimizer: the two optimizers.
        schedules: of one or both of them.
    """

    def __init__(self, optimizer: SparseAndDense, schedules: list[LRScheduler]) -> None:
        self.optimizer = optimizer
        self.schedules = schedules

    @override
    def step(self, epoch: int | None = None) -> None:
        for schedule in self.schedules:
            schedule.step()

    @override
    def get_last_lr(self) -> list[float | Tensor]:
        return [rate for schedule in self.schedules for rate in schedule.get_last_lr()]

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"schedules": [schedule.state_dict() for schedule in self.schedules]}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for schedule, state in zip(self.schedules, state_dict["schedules"], strict=True):
            schedule.load_state_dict(state)
