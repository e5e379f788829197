"""A loader that looks one batch ahead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.strategies.prefetched_lookups import OneAhead


@given(st.lists(st.integers()))
def test_every_batch_is_looked_at_once_and_one_step_before_it_is_given(batches: list[int]) -> None:
    seen: list[int] = []
    passes = [1]

    def look(batch: int) -> tuple[int]:
        seen.append(batch)
        return (batch,)

    given_so_far = 0
    for batch in OneAhead(batches, look, passes.clear):
        assert batch == (batches[given_so_far],)
        given_so_far += 1
        assert seen == batches[: given_so_far + 1]
    assert given_so_far == len(batches)
    assert seen == batches
    assert not passes


def test_it_is_in_all_else_the_loader() -> None:
    class Loader(list[int]):
        sampler = "the loader's own"

    ahead = OneAhead(Loader([1, 2, 3]), lambda batch: batch, lambda: None)
    assert len(ahead) == 3
    assert ahead.sampler == "the loader's own"
    assert list(ahead) == list(ahead) == [1, 2, 3]
    with pytest.raises(AttributeError):
        _ = ahead.nothing
    with pytest.raises(TypeError):
        len(OneAhead(iter([1]), lambda batch: batch, lambda: None))
