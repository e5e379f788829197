"""The command that plans the shards of embedding tables for devices that need not be there."""

from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveFloat, PositiveInt
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from sextant.errors import InputError
from sextant.lightning_internals import attach


def plan(
    trainer: Trainer,
    model: LightningModule,
    datamodule: LightningDataModule,
    devices: PositiveInt,
    devices_per_node: PositiveInt | None = None,
    kind: Literal["cuda", "cpu"] = "cuda",
    memory_gb: PositiveFloat = 68.0,
    output: str | None = None,
) -> None:
    """Print how TorchRec would shard the embedding tables of a model over devices that need not be there.

    The data is set up as ``fit`` does, since it may say how large the tables are, and the model makes its tables
    without memory. Nothing is trained, and no run is logged. What is allowed is said by the settings of
    TorchRecStrategy, if it is the Trainer's strategy; the Trainer's own devices do not matter.

    Args:
        trainer: whose strategy says what is allowed.
        model: any LightningModule whose ``configure_model`` makes an EmbeddingBagCollection.
        datamodule: its data.
        devices: how many, on all nodes together.
        devices_per_node: how many of them a node has; all if not given.
        kind: of the devices.
        memory_gb: GB (2^30 bytes) on each for tables, with their optimizer's state and buffers; 68 is 85 % of 80.
        output: file to write the plan to, for ``TorchRecStrategy.plan``.

    Raises:
        InputError: the options make no sense, the model has no tables, or they do not fit.
    """
    from sextant.strategies.embedding_tables import find_collections
    from sextant.strategies.table_constraints import GB, Devices
    from sextant.strategies.torchrec import TorchRecStrategy

    per_node = devices_per_node or devices
    if devices % per_node:
        raise InputError(f"--devices is {devices}; it must be a multiple of --devices_per_node ({per_node}).")
    if type(model).configure_model is LightningModule.configure_model:
        find_collections(model)  # raises where there are none, before data is read
    strategy = trainer.strategy if isinstance(trainer.strategy, TorchRecStrategy) else TorchRecStrategy()
    attach(trainer, model, datamodule)
    datamodule.prepare_data()
    datamodule.setup("fit")
    model.setup("fit")
    with strategy.model_sharded_context():
        model.configure_model()
    there = Devices(kind, devices, per_node, round(memory_gb * GB))
    planned = strategy.planning.plan(model, there, datamodule)
    print(planned)
    if output is not None:
        try:
            Path(output).write_text(planned.to_json())
        except OSError as error:
            raise InputError(f"{output}: the plan cannot be written ({error}). Give another --output.") from error
