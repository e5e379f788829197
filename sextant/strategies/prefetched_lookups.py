"""Send the ids of the next batch to the processes that hold their rows while the present one is computed.

TorchRec does so in its ``TrainPipelineSparseDist``, which takes the whole step over: forward, backward and optimizer.
Here the Trainer keeps the step. Only the exchange of ids is prefetched, one batch ahead in the loader.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torchrec.distributed.embeddingbag import ShardedEmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor


class PrefetchedLookups:
    """The forward pass of sharded tables, which finishes a lookup that was prefetched, and makes any other as usual.

    Args:
        tables: whose forward pass it is.
    """

    def __init__(self, tables: ShardedEmbeddingBagCollection) -> None:
        self._tables = tables
        # Of each lookup its ids, TorchRec's context, and what is waited for: first the lengths, by which each process
        # knows how many ids it gets, then the ids. The key is that of a tensor which is kept here, so it stays unique.
        self._announced: dict[int, tuple[KeyedJaggedTensor, Any, Any]] = {}
        self._sent: dict[int, tuple[KeyedJaggedTensor, Any, Any]] = {}

    def prefetch(self, ids: KeyedJaggedTensor) -> None:
        """Start to look up ids; all processes do so in the same order."""
        context = self._tables.create_context()
        self._announced[id(ids.values())] = ids, context, self._tables.input_dist(context, ids)

    def send(self) -> None:
        """Send the ids of the prefetched lookups, as soon as their lengths are known."""
        for key, (ids, context, lengths) in self._announced.items():
            self._sent[key] = ids, context, lengths.wait()
        self._announced.clear()

    def discard(self) -> None:
        """Discard the prefetched lookups; their ids are looked up anew if they come after all."""
        self._announced.clear()
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
        look: takes each batch, and gives it back.
        on_start: is called when a pass over the loader starts.
    """

    def __init__(self, loader: Any, look: Callable[[Any], Any], on_start: Callable[[], None]) -> None:
        self._loader = loader
        self._look = look
        self._on_start = on_start

    def __iter__(self) -> Iterator[Any]:
        self._on_start()
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


def prefetched_lookups(model: nn.Module) -> list[PrefetchedLookups]:
    """Replace the forward pass of all sharded tables of a model by one whose lookups can be prefetched."""
    lookups = []
    for module in model.modules():
        if isinstance(module, ShardedEmbeddingBagCollection):
            lookups.append(PrefetchedLookups(module))
            module.forward = lookups[-1]
    return lookups
