"""Click prediction: dense features and categories in, the probability of a click out."""

from typing import Any

import torch
import torch.nn.functional as F
import torchrec
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor, nn
from torch.distributed.optim import _apply_optimizer_in_backward
from torchmetrics import MetricCollection
from torchrec.modules.embedding_configs import PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from typing_extensions import override

from modules.metrics.click_metrics import ClickMetrics
from modules.networks.dlrm import DenseNetwork, DLRMArchitecture, PaddedDLRM, WithoutDense
from modules.row_wise_adagrad import RowWiseAdagrad
from modules.sparse_and_dense import SparseAndDense, SparseAndDenseSchedule
from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.export.graph import BATCH, AboveZero, Axis, ExportGraph, GraphInput
from sextant.lightning_internals import trainer_of
from sextant.module import BaseModule
from sextant.optimization import Optimization
from sextant.strategies.embedding_tables import fill_table, table_configs

#: The optimizers of tables that FBGEMM has in the backward pass, with a state that checkpoints of sharded tables hold.
IN_BACKWARD = (RowWiseAdagrad, torch.optim.Adagrad, torch.optim.SGD)
SMALLER_TABLES = (
    "Give the tables fewer rows (--data.table_sizes; with --data.encoding.mapping=hash any number will do) or columns "
    "(--model.architecture.embedding_dim), or shard them over the memory of several devices or nodes "
    "(--config configs/strategies/torchrec.yaml)."
)


class ClickPredictor(BaseModule):
    """Predict clicks with a DLRM (Naumov et al. 2019, https://arxiv.org/abs/1906.00091) or a DLRM-DCNv2 (MLPerf).

    Each categorical feature has a table of embeddings; the embeddings of several values are pooled. The tables are
    trained by an optimizer of their own, which touches the rows of a batch only. How many rows a table has, the data
    says (``table_sizes`` of its :class:`~sextant.data_spec.DataSpec`), so the tables are made in ``configure_model``.

    It is written for one device. ``sextant.strategies.torchrec.TorchRecStrategy`` shards the tables over several, and
    puts their optimizer into the backward pass. ``ddp`` replicates them, on CPUs: NCCL cannot reduce sparse gradients.

    Args:
        num_dense: dense features; 0 for none.
        num_sparse: categorical features.
        architecture: sizes and form of the network.
        sparse_optimizer: makes the optimizer of the tables: ``modules.row_wise_adagrad.RowWiseAdagrad``,
            ``torch.optim.Adagrad`` or ``torch.optim.SGD``, without momentum or weight decay; or, without sharding,
            ``torch.optim.SparseAdam``, whose averages are those of the rows of the batches, or ``torch.optim.Adam`` for
            small tables: it moves all rows at each step, and its ``weight_decay`` is an L2 penalty on them.
        sparse_scheduler: makes its schedule, stepped after every step; ``sextant.optimization.WarmupCosine`` spans the
            run.
        optimizer: makes the optimizer of everything else.
        scheduler: makes its schedule, as ``sparse_scheduler``; or a ``ReduceLROnPlateau``, which cuts both rates.

    Batch: ``dense`` float (B, num_dense); ``sparse``, a ``KeyedJaggedTensor`` with the categorical features as keys;
    ``label`` float (B,), 1 for a click and 0 for none, absent in ``predict``; ``weight`` float (B,), 0 for rows that
    pad a batch and do not count; ``index`` int64 (B,).

    Logged for train, val and test, over all samples of the epoch and of all processes: ``loss`` (log loss in nats),
    ``normalized_entropy`` (the loss by the entropy of the click rate) and ``calibration`` (the mean prediction by the
    click rate); for val and test also ``auc``, the area under the ROC curve, exact.
    """

    headline = "auc"

    def __init__(
        self,
        num_dense: int = 13,
        num_sparse: int = 26,
        architecture: DLRMArchitecture | None = None,
        sparse_optimizer: OptimizerCallable = RowWiseAdagrad,
        sparse_scheduler: LRSchedulerCallable | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler)
        for key, value, least in (("num_dense", num_dense, 0), ("num_sparse", num_sparse, 1)):
            if value < least:
                raise InputError(f"model.{key} is {value}; it must be {least} or more.")
        self.architecture = architecture or DLRMArchitecture()
        self.pooling = PoolingType(self.architecture.pooling.upper())
        self.sparse_optimization = Optimization(sparse_optimizer, sparse_scheduler)
        self._all_rows = table_optimizer(sparse_optimizer) is torch.optim.Adam
        self.tables: nn.Module | None = None
        self.network = DenseNetwork(num_dense, num_sparse, self.architecture)
        self.add_metrics({"clicks": ClickMetrics(auc=False)}, ("train",))
        self.add_metrics({"clicks": ClickMetrics(auc=True)}, ("val", "test"))

    @override
    def check_data(self, spec: DataSpec) -> None:
        for key, count, features, setting in (
            ("num_sparse", self.network.num_sparse, spec.table_sizes, "table_sizes"),
            ("num_dense", self.network.num_dense, spec.dense_features, "dense"),
        ):
            if len(features) != count:
                raise InputError(
                    f"model.{key} is {count}, but the data has {len(features)} such features (data.{setting}). Run "
                    f"with --model.{key}={len(features)}, or give other data."
                )

    @override
    def configure_model(self) -> None:
        """Make the tables of :attr:`data_spec`, where the strategy wants them.

        On the meta device they have no values yet: who shards them fills the shards, and finds at the parameters which
        optimizer is to be put into the backward pass.
        """
        if self.tables is not None:
            return
        if trainer_of(self) is not None and not self.data_spec.table_sizes:
            self.take_data_spec()
        configs = table_configs(dict(self.data_spec.table_sizes), self.architecture.embedding_dim, self.pooling)
        device = torch.get_default_device()
        if device.type != "meta":
            shapes = [torch.Size((config.num_embeddings, config.embedding_dim)) for config in configs]
            self.require_memory_to_make("the tables", shapes, self.sparse_optimization, SMALLER_TABLES)
        tables = EmbeddingBagCollection(configs, device=device)
        if tables.device.type == "meta":
            optimizer, settings = in_backward_settings(self.sparse_optimization.optimizer)
            _apply_optimizer_in_backward(optimizer, tables.parameters(), settings, register_hook=False)
        else:
            for config in configs:
                bag = tables.embedding_bags[config.name]
                bag.sparse = not self._all_rows  # otherwise a gradient has the rows of the batch only
                fill_table(bag.weight, config, torch.initial_seed())
        self.tables = tables
        values = torch.zeros(len(configs), dtype=torch.int64, device="cpu")  # one of each feature
        sparse = KeyedJaggedTensor(list(self.data_spec.table_sizes), values, lengths=torch.ones_like(values))
        self.example_input_array = (torch.zeros(1, self.network.num_dense, device="cpu"), sparse)

    @override
    def parameter_groups(self) -> list[dict[str, Any]]:
        """The parameters of everything but the tables, which have an optimizer of their own."""
        return [{"params": list(self.network.parameters())}]

    @override
    def forward(self, dense: Tensor, sparse: KeyedJaggedTensor) -> Tensor:
        """Features of samples to the logits of a click (B,)."""
        assert self.tables is not None
        pooled = self.tables(sparse).to_dict()  # a sharded collection has another order
        embeddings = torch.stack([pooled[feature] for feature in self.data_spec.table_sizes], 1)
        return self.network(dense, embeddings.to(dense.dtype))  # TorchRec gives float32 whatever the tables are

    @override
    def step(self, batch: dict[str, Any], metrics: MetricCollection) -> dict[str, Any]:
        logits, labels, weights = self(batch["dense"], batch["sparse"]).float(), batch["label"], batch["weight"]
        losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        metrics["loss"].update(losses.detach(), weights)
        metrics["clicks"].update(losses.detach(), logits.detach().sigmoid(), labels, weights)
        return {"loss": (losses * weights).sum() / weights.sum()}

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, float] | None]:
        """For each sample a row: ``click_probability``; None for those that pad the batch."""
        probabilities = self(batch["dense"], batch["sparse"]).float().sigmoid().tolist()
        return [
            {"click_probability": probability} if weight else None
            for probability, weight in zip(probabilities, batch["weight"].tolist(), strict=True)
        ]

    def export_graph(self) -> ExportGraph:
        """Plain tensors instead of a ``KeyedJaggedTensor``.

        ``dense`` float (B, num_dense), if there are dense features; ``categories`` int64 (B, num_sparse, L), rows of
        the tables, padded; ``counts`` int64 (B, num_sparse), how many there are without the padding; to ``logits``
        (B,).
        """
        assert self.tables is not None
        bags: Any = self.tables.embedding_bags
        features = self.network.num_sparse
        values = Axis("values", example=2, planned=Axis.of_at_most("values", 32))
        network = PaddedDLRM(
            [bags[feature].weight.detach() for feature in self.data_spec.table_sizes],
            self.pooling is PoolingType.MEAN,
            self.network,
        )
        dense = [GraphInput("dense", (BATCH, self.network.num_dense))] if self.network.num_dense else []
        about = {"dense": "numerical features, transformed"} if dense else {}
        return ExportGraph(
            network=network if dense else WithoutDense(network),
            inputs=(
                *dense,
                GraphInput("categories", (BATCH, features, values), torch.int64),
                GraphInput("counts", (BATCH, features), torch.int64),
            ),
            outputs=("logits",),
            read=lambda batch: (*([batch["dense"]] if dense else []), *self._padded(batch["sparse"])),
            decide=AboveZero(),
            about=about
            | {
                "categories": "rows of each feature's table, padded at the end with any rows",
                "counts": "rows of each feature without the padding",
                "logits": "1 / (1 + exp(-logit)) is the probability of a click",
            },
            details={"tables": dict(self.data_spec.table_sizes), "pooling": self.pooling.value.lower()},
        )

    def _padded(self, sparse: KeyedJaggedTensor) -> tuple[Tensor, Tensor]:
        """The categories of each sample, int64 (B, F, L), padded with 0, and how many there are, int64 (B, F)."""
        places = [sparse.keys().index(feature) for feature in self.data_spec.table_sizes]
        counts = sparse.lengths().view(len(sparse.keys()), -1).long()
        counted = torch.arange(max(1, int(counts.max())), device=counts.device) < counts[:, :, None]
        categories = torch.zeros(counted.shape, dtype=torch.int64, device=counts.device)
        categories[counted] = sparse.values().long()  # by feature, then by sample
        return categories[places].transpose(0, 1).contiguous(), counts[places].T.contiguous()

    def table_summary(self) -> str:
        """Parameters and bytes of each table and of the dense part, in lines."""
        dense, dim = sum(parameter.numel() for parameter in self.network.parameters()), self.architecture.embedding_dim
        rows = [(feature, f"{count:,} x {dim}", count * dim) for feature, count in self.data_spec.table_sizes.items()]
        rows += [("all tables", "", sum(row[2] for row in rows)), ("dense part", "", dense)]
        lines = [f"{'':12}{'table':>18}{'parameters':>18}{'MB':>12}"]
        lines += [f"{name:12}{shape:>18}{count:>18,}{4 * count / 2**20:>12,.1f}" for name, shape, count in rows]
        return "\n".join(lines)

    @override
    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradients of the dense part only: a sharded table has none."""
        super().configure_gradient_clipping(optimizer.dense, gradient_clip_val, gradient_clip_algorithm)

    @override
    def configure_optimizers(self) -> Any:
        assert self.tables is not None
        # Tables that a strategy optimizes in the backward pass are left to it.
        tables = [p for p in self.tables.parameters() if not hasattr(p, "_in_backward_optimizers")]
        parts = [
            self.sparse_optimization.configure(self, [{"params": tables}]),
            self.optimization.configure(self, self.parameter_groups()),
        ]
        optimizers = [part["optimizer"] if isinstance(part, dict) else part for part in parts]
        names = {parameter: name for name, parameter in self.named_parameters()}
        optimizer = SparseAndDense(optimizers[0], optimizers[1], names)
        configs = [part["lr_scheduler"] for part in parts if isinstance(part, dict)]
        schedules = [config["scheduler"] for config in configs]
        if any(isinstance(schedule, ReduceLROnPlateau) for schedule in schedules):
            if self.sparse_optimization.scheduler is not None:
                raise InputError(
                    "A ReduceLROnPlateau of click prediction cuts the rates of the tables and of everything else "
                    "together: give it as model.scheduler, and leave model.sparse_scheduler out."
                )
            assert self.optimization.scheduler is not None
            both = configs[0] | {"scheduler": self.optimization.scheduler(optimizer)}
            return {"optimizer": optimizer, "lr_scheduler": both}
        if not schedules:
            return optimizer
        schedule = SparseAndDenseSchedule(optimizer, schedules)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def table_optimizer(make: OptimizerCallable) -> type[torch.optim.Optimizer]:
    """The class of an optimizer of tables.

    Raises:
        InputError: it is none for tables, or has settings that do not go with sparse gradients.
    """
    optimizer = make([nn.Parameter(torch.empty(0, 1))])
    kind = type(optimizer)
    if kind not in (*IN_BACKWARD, torch.optim.SparseAdam, torch.optim.Adam):
        raise InputError(
            f"model.sparse_optimizer is {kind.__name__}; tables are optimized by modules.row_wise_adagrad."
            "RowWiseAdagrad, or torch.optim.Adagrad, SGD, SparseAdam or Adam."
        )
    for key in ("momentum", "weight_decay", "lr_decay", "dampening", "initial_accumulator_value", "maximize"):
        if optimizer.defaults.get(key) and kind is not torch.optim.Adam:
            raise InputError(f"model.sparse_optimizer.{key} is {optimizer.defaults[key]}; for tables it must be 0.")
    return kind


def in_backward_settings(make: OptimizerCallable) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The class and the settings of an optimizer of tables, to put it into the backward pass.

    Raises:
        InputError: it cannot be put there.
    """
    optimizer = make([nn.Parameter(torch.empty(0, 1))])
    kind = type(optimizer)
    if kind not in IN_BACKWARD:
        why = (
            "moves all rows of a table at each step, and a backward pass those of its batch"
            if kind is torch.optim.Adam
            else "keeps two averages, and checkpoints of sharded tables hold one"
        )
        raise InputError(
            f"model.sparse_optimizer is {kind.__name__}, which {why}. With TorchRecStrategy use modules."
            "row_wise_adagrad.RowWiseAdagrad, torch.optim.Adagrad or torch.optim.SGD."
        )
    in_backward = torchrec.optim.RowWiseAdagrad if kind is RowWiseAdagrad else kind  # TorchRec knows its own only
    return in_backward, {key: optimizer.defaults[key] for key in ("lr", "eps") if key in optimizer.defaults}
