"""Each batch comes with the epoch that it is of, in all else as without it."""

from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from sextant.samplers.fixed.numbered_epochs import NumberedEpochs
from sextant.samplers.fixed.shuffled import ShuffledBatches


def batches(epoch: int, done: int = 0) -> ShuffledBatches:
    return ShuffledBatches(23, 5, shuffle=True, seed=1, epoch=epoch, done=[(done, 1)])


@given(st.integers(0, 9), st.integers(0, 5))
def test_batches_are_those_without_the_epoch(epoch: int, done: int) -> None:
    numbered = NumberedEpochs(batches(epoch, done))
    assert list(numbered) == [(epoch, batch) for batch in batches(epoch, done)]
    assert len(numbered) == 5
    assert numbered.remaining == 5 - done
    numbered.set_epoch(epoch + 1)
    assert list(numbered) == [(epoch + 1, batch) for batch in batches(epoch + 1)]


class Seen(Dataset[tuple[int, list[int]]]):
    def __getitem__(self, key: tuple[int, list[int]]) -> tuple[int, list[int]]:
        return key


def test_persistent_workers_hear_of_each_epoch() -> None:
    numbered = NumberedEpochs(batches(0))
    loader = DataLoader(
        Seen(), sampler=numbered, batch_size=None, collate_fn=tuple, num_workers=1, persistent_workers=True
    )
    for epoch in range(3):
        numbered.set_epoch(epoch)
        assert [given for given, _ in loader] == [epoch] * 5
