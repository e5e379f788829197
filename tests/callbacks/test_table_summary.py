"""The sizes of tables are logged where training starts."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks.table_summary import TableSummary


class WithTables(BoringModel):
    def table_summary(self) -> str:
        return "a 3 x 4\nb 5 x 4"


def test_sizes_go_to_tensorboard(tmp_path: Path) -> None:
    trainer = Trainer(
        max_steps=1,
        limit_val_batches=0,
        accelerator="cpu",
        logger=TensorBoardLogger(str(tmp_path)),
        callbacks=[TableSummary()],
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(WithTables())
    log = EventAccumulator(str(trainer.log_dir)).Reload().Tensors("model/tables/text_summary")
    assert log[0].tensor_proto.string_val[0].decode() == "    a 3 x 4\n    b 5 x 4"
