"""Batches come with their epoch."""

from sextant.samplers.numbered_epochs import NumberedEpochs
from sextant.samplers.shuffled import ShuffledBatches


def test_batches_come_with_their_epoch_from_the_position_on() -> None:
    plain = ShuffledBatches(10, 3, shuffle=True, seed=1, epoch=2, done=[(1, 1)])
    numbered = NumberedEpochs(ShuffledBatches(10, 3, shuffle=True, seed=1, epoch=2, done=[(1, 1)]))
    assert list(numbered) == [(2, batch) for batch in plain]
    assert (len(numbered), numbered.remaining) == (4, 3)
    numbered.set_epoch(3)
    plain.set_epoch(3)
    assert list(numbered) == [(3, batch) for batch in plain]
    assert numbered.remaining == 4
