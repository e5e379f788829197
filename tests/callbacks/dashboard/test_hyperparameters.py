"""The settings on TensorBoard's HParams page."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from callbacks.dashboard.hyperparameters import shown_settings
from tests.sextant.resume.interrupted import Folder


def test_what_matters_most_comes_first_and_the_rest_by_its_keys() -> None:
    tables = {"class_path": "modules.row_wise_adagrad.RowWiseAdagrad", "init_args": {"lr": 0.02}}
    settings = {
        "seed_everything": 3,
        "model": {
            "class_path": "modules.dlrm.ClickPredictor",
            "init_args": {
                "architecture": {"bottom_mlp": [8, 4], "interaction": "dot"},
                "sparse_optimizer": tables,
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001, "weight_decay": 0.1}},
                "scheduler": {"class_path": "sextant.optimization.WarmupCosine", "init_args": {"warmup": 0.05}},
            },
        },
        "data": {"class_path": "datamodules.criteo.Criteo", "init_args": {"batch_size": 64, "limit": None}},
        "trainer": {"max_epochs": 2, "gradient_clip_val": None},
    }
    shown = shown_settings(settings)
    assert shown == {
        "Batch size": 64,
        "Epochs": 2,
        "Learning rate": 0.001,
        "Learning rate (sparse)": 0.02,
        "Optimizer": "Adam",
        "Optimizer (sparse)": "RowWiseAdagrad",
        "Schedule": "WarmupCosine",
        "Seed": 3,
        "Weight decay": 0.1,
        "data.class_path": "datamodules.criteo.Criteo",
        "model.architecture.bottom_mlp": "[8, 4]",
        "model.architecture.interaction": "dot",
        "model.class_path": "modules.dlrm.ClickPredictor",
        "model.scheduler.warmup": 0.05,
    }
    assert list(shown)[:9] == sorted(shown)[:9]  # TensorBoard has the names in this order


def test_best_value_stands_beside_what_it_is_the_best_of(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run")
    callback = "--trainer.callbacks+=callbacks.dashboard.hyperparameters.Hyperparameters"
    run.fit(callback, "--trainer.max_epochs=2")
    events = EventAccumulator(str(run.run)).Reload()
    best = min(point.value for point in events.Scalars("val/loss"))
    assert events.Scalars("val/best_loss")[-1].value == best
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    experiment = HParamsPluginData.FromString(content).experiment
    assert [info.name.tag for info in experiment.metric_infos] == ["val/best_loss"]
    assert "Learning rate" in [info.name for info in experiment.hparam_infos]
