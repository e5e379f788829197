"""Batches together with the epoch that they are of."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from sextant.samplers.fixed.shuffled import ShuffledBatches


class NumberedEpochs(Sampler[tuple[int, list[int]]]):
    """Batches, each with the epoch that it is of, so that what a dataset draws for a sample can depend on both.

    A dataset in a loader's worker has no other way to know: workers live on from epoch to epoch.

    Args:
        batches: of samples.
    """

    def __init__(self, batches: ShuffledBatches) -> None:
        self.batches = batches

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; in the epoch it is in already, it stays where it is. Lightning calls this."""
        self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        for batch in self.batches:
            yield self.batches.epoch, batch

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def remaining(self) -> int:
        """The batches of the present epoch that are to be given."""
        return self.batches.remaining
