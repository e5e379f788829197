"""What is known of a model's tables before they are sharded. What a process holds of them, the runs show."""

import ctypes
from collections.abc import Iterator
from itertools import accumulate

import pytest
import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
from fbgemm_gpu.split_table_batched_embeddings_ops_training import ComputeDevice, SplitTableBatchedEmbeddingBagsCodegen
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.optim import _apply_optimizer_in_backward
from torchrec.modules.embedding_configs import PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from modules.row_wise_adagrad import RowWiseAdagrad
from sextant.strategies.embedding_tables import table_configs
from sextant.strategies.sharded_tables import find_tables, keep_empty_shards_apart

M_PERTURB = -6  # of <malloc.h>: what memory is filled with, as the complement


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


@pytest.fixture
def filled_memory() -> Iterator[None]:
    """Memory that nothing has been written to holds large numbers, so that one who reads it is found out."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        pytest.skip("only glibc fills memory")
    library.mallopt(M_PERTURB, 0xFF ^ 0x55)
    yield
    library.mallopt(M_PERTURB, 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    specs=st.lists(st.tuples(st.integers(0, 4), st.sampled_from([4, 8, 12])), min_size=1, max_size=5).filter(
        lambda specs: any(rows for rows, _ in specs)
    ),
    shared=st.lists(st.booleans(), min_size=5, max_size=5),
    optimizer=st.sampled_from([EmbOptimType.EXACT_SGD, EmbOptimType.EXACT_ROWWISE_ADAGRAD, EmbOptimType.EXACT_ADAGRAD]),
    seed=st.integers(0, 99),
)
@example(specs=[(5, 4), (3, 4), (0, 4)], shared=[False] * 5, optimizer=EmbOptimType.EXACT_SGD, seed=0)
@example(specs=[(5, 4), (0, 8), (3, 4)], shared=[False] * 5, optimizer=EmbOptimType.EXACT_SGD, seed=0)
@example(specs=[(5, 4), (0, 4), (3, 8)], shared=[False] * 5, optimizer=EmbOptimType.EXACT_SGD, seed=0)
def test_empty_shards_leave_those_beside_them_alone(
    filled_memory: None, specs: list[tuple[int, int]], shared: list[bool], optimizer: EmbOptimType, seed: int
) -> None:
    """Each table learns what it learns by itself; some have two features."""
    features = [table for table in range(len(specs)) for _ in range(1 + shared[table])]
    draw = torch.Generator().manual_seed(seed)
    bags = [torch.randint(0, max(specs[table][0], 1), (3,), generator=draw) for table in features]
    counts = [3 if specs[table][0] else 0 for table in features]
    gradients = [torch.randn(1, specs[table][1], generator=draw) for table in features]

    def learned(tables: list[int]) -> list[Tensor]:
        chosen = [i for i, table in enumerate(features) if table in tables]
        lookup = SplitTableBatchedEmbeddingBagsCodegen(
            [(*specs[table], EmbeddingLocation.HOST, ComputeDevice.CPU) for table in tables],
            feature_table_map=[tables.index(features[i]) for i in chosen],
            optimizer=optimizer,
            learning_rate=0.5,
            pooling_mode=PoolingMode.SUM,
        )
        keep_empty_shards_apart(nn.ModuleList([lookup]))
        for weight in lookup.split_embedding_weights():
            weight.fill_(1.0)
        ids = torch.cat([bags[i][: counts[i]] for i in chosen])
        offsets = torch.tensor([0, *accumulate(counts[i] for i in chosen)])
        lookup(ids, offsets).backward(torch.cat([gradients[i] for i in chosen], dim=1))
        return [weight.clone() for weight in lookup.split_embedding_weights()]

    together = learned(list(range(len(specs))))
    for table, (rows, _) in enumerate(specs):
        if rows:
            assert not (together[table] == 1.0).all()
            torch.testing.assert_close(together[table], learned([table])[0])
