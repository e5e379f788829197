"""Send the ids of the next batch to the processes that hold their rows while the present one is computed.

TorchRec does so in its ``TrainPipelineSparseDist``, which takes the whole step over: forward, backward and optimizer.
Here the Trainer keeps the step. What is begun early is the exchange of ids alone, one batch ahead in the loader.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torchrec.distributed.embeddingbag import ShardedEmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor


class PrefetchedLookups:
    """The forward pass of sharded tables, which goes on with a lookup where it was begun before.

    Args:
        tables: whose forward pass it is.
    """

    def __init__(self, tables: ShardedEmbeddingBagCollection) -> None:
        self._tables = tables
        # Of each lookup its ids, TorchRec's context, and what is waited for: first for the numbers of ids that each
        # process gets, then for the ids. The key is that of a tensor which is kept here, and so stays unique.
        self._begun: dict[int, tuple[KeyedJaggedTensor, Any, Any]] = {}
        self._sent: dict[int, tuple[KeyedJaggedTensor, Any, Any]] = {}

    def begin(self, ids: KeyedJaggedTensor) -> None:
        """Begin to look up ids; all processes do so in the same order."""
        context = self._tables.create_context()
        self._begun[id(ids.values())] = ids, context, self._tables.input_dist(context, ids)

    def send(self) -> None:
        """Send the ids of the lookups that were begun, as soon as their numbers are there."""
        for key, (ids, context, counted) in self._begun.items():
            self._sent[key] = ids, context, counted.wait()
        self._begun.clear()

    def forget(self) -> None:
        """Forget the lookups that were begun; their ids are looked up anew if they come after all."""
        self._begun.clear()
        self._sent.clear()

    def __call__(self, ids: KeyedJaggedTensor) -> Any:
        """What the tables hold for ids."""
        self.send()
        sent = self._sent.pop(id(ids.values()), None)
        if sent is None:
            return type(self._tables).forward(self._tables, ids)
        _, context, arriving = sent
        return self._tables.compute_and_output_dist(context, arriving.wait())


class OneAhead:
    """A loader that looks at each batch one step before it gives it; in all else the loader that it is made from.

    Args:
        loader: gives the batches.
        look: what is done with each batch, and gives it back.
        begin: what is done when a pass over the loader begins.
    """

    def __init__(self, loader: Any, look: Callable[[Any], Any], begin: Callable[[], None]) -> None:
        self._loader = loader
        self._look = look
        self._begin = begin

    def __iter__(self) -> Iterator[Any]:
        self._begin()
        present = None
        for batch in self._loader:
            following = self._look(batch)
            if present is not None:
                yield present
            present = following
        if present is not None:
            yield present

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def begin_lookups(model: nn.Module) -> list[PrefetchedLookups]:
    """Let all sharded tables of a model go on with lookups that were begun."""
    lookups = []
    for module in model.modules():
        if isinstance(module, ShardedEmbeddingBagCollection):
            lookups.append(PrefetchedLookups(module))
            module.forward = lookups[-1]
    return lookups
