"""Where a model runs: strategies beside those of Lightning, which knows them by the names of their classes."""

from lightning.pytorch.strategies import Strategy, StrategyRegistry


def _torchrec() -> Strategy:
    from sextant.strategies.torchrec import TorchRecStrategy  # which takes seconds to import

    return TorchRecStrategy()


for name in ("TorchRecStrategy", "sextant.strategies.torchrec.TorchRecStrategy"):
    # Lightning looks for a name in lower case.
    StrategyRegistry.register(name.lower(), _torchrec, description="Embedding tables sharded by TorchRec.")
