"""Where a model runs: strategies beside those of Lightning, which knows them by the names of their classes."""

from collections.abc import Iterable
from importlib import import_module

from lightning.pytorch.strategies import Strategy, StrategyRegistry

NAME, MODULE = "TorchRecStrategy", "sextant.strategies.torchrec"  # which takes seconds to import


def import_strategies(words: Iterable[str]) -> None:
    """Import the strategies that a command names by their classes alone: a parser finds what is imported.

    Args:
        words: the arguments of the command.
    """
    if any(word.startswith("--trainer.strategy") and word.endswith(f"={NAME}") for word in words):
        import_module(MODULE)


def _torchrec() -> Strategy:
    from sextant.strategies.torchrec import TorchRecStrategy

    return TorchRecStrategy()


for name in (NAME, f"{MODULE}.{NAME}"):
    # Lightning looks for a name in lower case.
    StrategyRegistry.register(name.lower(), _torchrec, description="Embedding tables sharded by TorchRec.")
