"""Embedding tables of a model, and their initial values, which do not depend on how they are sharded."""

import zlib

import numpy as np
import torch
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from sextant.errors import InputError

BLOCK = 4096  # rows that are drawn together


def table_configs(tables: dict[str, int], dim: int, pooling: PoolingType) -> list[EmbeddingBagConfig]:
    """Describe one table per feature, of the same name.

    Args:
        tables: rows of the table of each feature.
        dim: features of an embedding.
        pooling: what is made of several values of a feature.
    """
    return [
        EmbeddingBagConfig(
            name=feature, embedding_dim=dim, num_embeddings=rows, feature_names=[feature], pooling=pooling
        )
        for feature, rows in tables.items()
    ]


@torch.no_grad()
def fill_table(weight: Tensor, config: EmbeddingBagConfig, seed: int, row: int = 0, column: int = 0) -> None:
    """Give a table, or a shard of one, its initial values.

    They are a pure function of the seed, the table's name, and the place in the whole table: each block of rows is
    drawn by itself with the table's ``init_fn``, by default from ``U(-1/sqrt(rows), 1/sqrt(rows))``.

    Args:
        weight: what to fill, (rows of the shard, columns of the shard).
        config: the table's. Its ``init_fn`` must fill each row in the same way.
        seed: of the model.
        row: first row of the shard in the table.
        column: first column of the shard in the table.
    """
    rows, columns = weight.shape
    name = zlib.crc32(config.name.encode())
    with torch.random.fork_rng(devices=[]):
        for block in range(row // BLOCK, -(-(row + rows) // BLOCK)):
            # On the CPU, whatever the default device is: another device draws other numbers.
            torch.default_generator.manual_seed(
                int(np.random.SeedSequence([seed, name, block]).generate_state(1, np.uint64)[0])
            )
            first = block * BLOCK
            whole = torch.empty(min(BLOCK, config.num_embeddings - first), config.embedding_dim, device="cpu")
            assert config.init_fn is not None  # the configuration sets it where nothing is given
            config.init_fn(whole)
            begin, end = max(row, first), min(row + rows, first + BLOCK)
            weight[begin - row : end - row] = whole[begin - first : end - first, column : column + columns]


def find_collections(model: nn.Module) -> dict[str, EmbeddingBagCollection]:
    """The collections of tables in a model, by their paths.

    Raises:
        InputError: there are none.
    """
    found = {path: module for path, module in model.named_modules() if isinstance(module, EmbeddingBagCollection)}
    if not found:
        raise InputError(
            f"TorchRecStrategy: {type(model).__name__} has no EmbeddingBagCollection, so there is nothing to shard. "
            "Use --trainer.strategy=ddp."
        )
    return found
