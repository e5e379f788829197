"""What is known of a model's tables before they are sharded. What a process holds of them, the runs show."""

import pytest
import torch
from torch import nn
from torch.distributed.optim import _apply_optimizer_in_backward
from torchrec.modules.embedding_configs import PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from modules.row_wise_adagrad import RowWiseAdagrad
from sextant.strategies.embedding_tables import table_configs
from sextant.strategies.sharded_tables import find_tables


def model(optimizer: type[torch.optim.Optimizer] | None, device: str) -> nn.Module:
    tables = EmbeddingBagCollection(table_configs({"a": 3, "b": 5}, 8, PoolingType.SUM), device=torch.device(device))
    if optimizer is not None:
        _apply_optimizer_in_backward(optimizer, tables.parameters(), {"lr": 0.1}, register_hook=False)
    return nn.ModuleDict({"tables": tables})


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [(torch.optim.Adagrad, "cells"), (RowWiseAdagrad, "rows"), (torch.optim.SGD, "none"), (None, "none")],
)
def test_optimizer_says_what_is_kept_for_a_table(optimizer: type[torch.optim.Optimizer] | None, kind: str) -> None:
    found = find_tables(model(optimizer, "meta"))
    assert list(found) == [f"tables.embedding_bags.{name}.weight" for name in "ab"]
    assert [table.config.num_embeddings for table in found.values()] == [3, 5]
    assert {table.state_kind for table in found.values()} == {kind}


@pytest.mark.parametrize(("device", "empty"), [("meta", True), ("cpu", False)])
def test_table_has_values_unless_it_is_on_the_meta_device(device: str, empty: bool) -> None:
    assert {table.empty for table in find_tables(model(None, device)).values()} == {empty}
