"""Tables start with the same values however they are sharded."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from sextant.errors import InputError
from sextant.strategies.embedding_tables import BLOCK, fill_table, find_collections, table_configs


def whole(name: str = "t", rows: int = 2 * BLOCK + 7, dim: int = 4, seed: int = 0) -> torch.Tensor:
    (config,) = table_configs({name: rows}, dim, PoolingType.SUM)
    weight = torch.full((rows, dim), torch.nan)
    fill_table(weight, config, seed)
    return weight


WHOLE = whole()
#: Rows near the ends of the blocks, and any others.
ROWS = st.one_of(
    st.integers(0, len(WHOLE)),
    st.builds(lambda block, by: min(max(block * BLOCK + by, 0), len(WHOLE)), st.integers(0, 2), st.integers(-2, 2)),
)


@settings(deadline=None)
@given(st.tuples(ROWS, ROWS).map(sorted), st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted))
def test_any_rectangle_is_that_of_the_whole_table(rows: list[int], columns: list[int]) -> None:
    (first, last), (left, right) = rows, columns
    (config,) = table_configs({"t": len(WHOLE)}, 4, PoolingType.SUM)
    shard = torch.full((last - first, right - left), torch.nan)
    fill_table(shard, config, 0, first, left)
    assert torch.equal(shard, WHOLE[first:last, left:right])


def test_values_are_uniform_within_the_root_of_the_rows() -> None:
    bound = 1 / math.sqrt(len(WHOLE))
    assert WHOLE.abs().max() <= bound
    assert WHOLE.min() < -0.99 * bound
    assert WHOLE.max() > 0.99 * bound
    assert abs(WHOLE.mean()) < 0.05 * bound
    assert len(torch.unique(WHOLE, dim=0)) == len(WHOLE)  # no block is drawn like another


def test_other_seeds_and_other_tables_start_differently() -> None:
    assert torch.equal(whole(rows=50), whole(rows=50))
    assert not torch.isclose(whole(rows=50), whole(rows=50, seed=1)).any()
    assert not torch.isclose(whole(rows=50), whole("u", rows=50)).any()
    whole(rows=5, seed=2**64 - 1)  # as torch.initial_seed() may be


def test_values_depend_neither_on_the_default_device_nor_on_what_was_drawn_before() -> None:
    torch.manual_seed(3)
    after = torch.rand(2)
    torch.manual_seed(3)
    (config,) = table_configs({"t": 50}, 4, PoolingType.SUM)
    weight = torch.empty(50, 4)
    with torch.device("meta"):
        fill_table(weight, config, 0)
    assert torch.equal(weight, whole(rows=50))
    assert torch.initial_seed() == 3
    assert torch.equal(torch.rand(2), after)


def test_table_is_initialized_as_its_configuration_says() -> None:
    config = EmbeddingBagConfig(
        name="t",
        embedding_dim=4,
        num_embeddings=6,
        feature_names=["t"],
        init_fn=partial(torch.nn.init.constant_, val=3.0),
    )
    weight = torch.empty(6, 4)
    fill_table(weight, config, 0)
    assert (weight == 3).all()


def test_each_feature_has_a_table_of_its_name() -> None:
    configs = table_configs({"b": 3, "a": 5}, 8, PoolingType.MEAN)
    assert [(c.name, c.num_embeddings, c.embedding_dim, c.feature_names, c.pooling) for c in configs] == [
        ("b", 3, 8, ["b"], PoolingType.MEAN),
        ("a", 5, 8, ["a"], PoolingType.MEAN),
    ]


def test_collections_are_found_by_their_paths_wherever_they_are() -> None:
    first, second = (
        EmbeddingBagCollection(table_configs({name: 3}, 4, PoolingType.SUM), device=torch.device("meta"))
        for name in "ab"
    )
    model = nn.ModuleDict({"a": first, "inner": nn.ModuleDict({"b": second}), "c": nn.Linear(1, 1)})
    assert find_collections(model) == {"a": first, "inner.b": second}
    with pytest.raises(InputError, match="Linear has no EmbeddingBagCollection"):
        find_collections(nn.Linear(1, 1))
