"""Models with tables on the meta device, and their plans."""

import torch
from torch import nn
from torch.distributed.optim import _apply_optimizer_in_backward  # which TorchRec documents
from torchrec.modules.embedding_configs import PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from sextant.strategies.embedding_tables import table_configs
from sextant.strategies.table_constraints import GB, Devices, ShardingType, TableConstraints
from sextant.strategies.table_plan import Plan
from sextant.strategies.table_planner import make_plan

#: Those of https://pytorch.org/tutorials/advanced/sharding.html
TUTORIAL = {"large_0": 4096, "large_1": 4096, "small_0": 1024, "small_1": 1024}
TWO = Devices("cuda", 2, 2, 10 * GB)


def model(tables: dict[str, int] | None = None, dim: int = 64) -> nn.Module:
    """A model with tables on the meta device, trained by SGD."""
    configs = table_configs(tables or TUTORIAL, dim, PoolingType.SUM)
    ebc = EmbeddingBagCollection(configs, device=torch.device("meta"))
    _apply_optimizer_in_backward(torch.optim.SGD, ebc.parameters(), {"lr": 0.1}, register_hook=False)
    return nn.ModuleDict({"ebc": ebc})


def plan(kind: ShardingType, devices: Devices = TWO) -> Plan:
    return make_plan(model(), devices, TableConstraints([kind]), {}, 512)
