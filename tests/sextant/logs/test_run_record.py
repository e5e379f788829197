"""What a run was, in a file of its folder."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.sextant.resume.interrupted import Folder


def record(run: Folder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.run / "run.json").read_text())
    return found


def test_run_that_is_stopped_and_gone_on_with_has_an_entry_for_each_command(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", "--trainer.max_epochs=2")
    run.end("on_train_batch_end", 5, signal.SIGUSR1)
    stopped = record(run)
    assert [command["state"] for command in stopped["commands"]] == ["stopped"]
    assert (stopped["epochs"], stopped["steps"]) == (1, 5)
    run.fit("--ckpt_path=last")
    ended = record(run)
    assert [command["state"] for command in ended["commands"]] == ["stopped", "finished"]
    assert (ended["epochs"], ended["steps"]) == (2, 8)
    assert ended["best"]["metric"] == "val/loss"
    assert ended["best"]["value"] == pytest.approx(run.points()["val/loss"][-1][1])
    for command in ended["commands"]:
        assert command["command"] == "python train.py"  # as this test has it
        assert command["seconds"] > 0
        assert {"torch", "lightning", "python"} <= set(command["versions"])
        assert {"commit", "clean", "machine", "processes", "began", "pid", "host"} <= set(command)


def test_data_has_a_fingerprint_of_its_settings(tmp_path: Path) -> None:
    found = []
    for number, more in enumerate(([], ["--data.offset=1"], [])):
        run = Folder(tmp_path / str(number), *more)
        run.fit()
        found.append(record(run)["data"])
    assert found[0] == found[2]
    assert found[0]["fingerprint"] != found[1]["fingerprint"]
    assert found[0]["class"] == "tests.sextant.tiny.PointsData"
    assert not found[0]["synthetic"]


def test_run_that_fails_says_so(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run")
    run.end("on_train_batch_end", 2)
    assert record(run)["commands"][0]["state"] == "failed"


def test_record_that_is_damaged_does_not_keep_a_run_from_going_on(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", "--trainer.max_epochs=2")
    run.end("on_train_batch_end", 5, signal.SIGUSR1)
    (run.run / "run.json").write_text('{"commands": [')
    run.fit("--ckpt_path=last")
    assert [command["state"] for command in record(run)["commands"]] == ["finished"]


def test_board_shows_the_configuration_and_the_record_at_the_beginning_and_at_the_end(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", "--trainer.max_epochs=2")
    run.end("on_train_batch_end", 5, signal.SIGUSR1)
    run.fit("--ckpt_path=last")
    board = EventAccumulator(str(run.run), {"tensors": 0}).Reload()

    def shown(name: str) -> list[tuple[int, str]]:
        texts = board.Tensors(f"run/{name}/text_summary")
        return [(text.step, text.tensor_proto.string_val[0].decode().replace("\n    ", "\n")[4:]) for text in texts]

    assert shown("config.yaml")[-1] == (5, (run.run / "config.yaml").read_text())
    records = [(step, json.loads(text)) for step, text in shown("run.json")]
    states = [(step, [command["state"] for command in found["commands"]]) for step, found in records]
    assert states == [(0, ["running"]), (5, ["stopped", "running"]), (8, ["stopped", "finished"])]
    assert records[-1][1] == record(run)


def test_epoch_in_which_a_run_stops_is_not_counted(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", "--trainer.max_epochs=3", "--trainer.max_steps=6")
    run.fit()
    assert (record(run)["epochs"], record(run)["steps"]) == (1, 6)
    run.fit("--ckpt_path=last", "--settings_from=command", "--trainer.max_steps=8")
    assert (record(run)["epochs"], record(run)["steps"]) == (2, 8)


def test_what_a_model_was_measured_to_be_stands_beside_how_it_was_trained(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run")
    run.fit()
    trained = record(run)
    metrics = [
        {
            name: float(value)
            for name, value in run.command(command, "--ckpt_path=best").trainer.callback_metrics.items()
        }
        for command in ("validate", "test")
    ]
    kept = record(run)
    evaluations = kept.pop("evaluations")
    assert kept == trained
    assert [evaluation["metrics"] for evaluation in evaluations] == metrics
    assert {name.partition("/")[0] for name in metrics[1]} == {"test"}
    assert all(evaluation["data"] == trained["data"] for evaluation in evaluations)
    assert all({"command", "commit", "clean", "machine", "seconds"} <= evaluation.keys() for evaluation in evaluations)
    run.fit("--ckpt_path=last", "--settings_from=command", "--trainer.max_epochs=4")
    assert record(run)["evaluations"] == evaluations


def test_evaluation_without_a_record_leaves_none(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run")
    run.fit()
    (run.run / "run.json").unlink()
    run.command("validate", "--ckpt_path=best")
    assert not (run.run / "run.json").exists()
