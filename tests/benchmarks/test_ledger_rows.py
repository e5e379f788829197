"""Rows of the ledger that are made from the record of a run."""

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ledger
from sextant.errors import InputError

HEAD = "python /home/me/sextant/train.py"
RUN: dict[str, Any] = {
    "name": "dlrm_criteo",
    "data": {"class": "datamodules.criteo.Criteo", "synthetic": False},
    "commands": [
        {
            "command": f"{HEAD} fit --config configs/dlrm_criteo.yaml --config=my.yaml '--data.columns={{a: [b, c]}}'",
            "commit": "abc1234",
            "clean": True,
            "machine": "2 cores of X",
            "state": "stopped",
            "seconds": 60.4,
            "peak": {"memory_mb": 900},
        },
        {
            "command": f"{HEAD} fit --config configs/dlrm_criteo.yaml --ckpt_path=last",
            "commit": "abc1234",
            "clean": True,
            "machine": "2 cores of X",
            "state": "finished",
            "seconds": 30.2,
            "peak": {"memory_mb": 800},
        },
    ],
    "best": {"metric": "val/auc", "value": 0.98765432},
    "evaluations": [
        {"command": f"{HEAD} test --ckpt_path=last", "commit": "abc1234", "clean": True, "metrics": {"test/auc": 0.5}},
        {"command": f"{HEAD} test --ckpt_path=best", "commit": "abc1234", "clean": True, "metrics": {"test/auc": 0.75}},
    ],
}


def test_row_has_the_best_value_and_the_commands_that_gave_it() -> None:
    row = ledger.row(RUN)
    assert row["command"] == (
        "python train.py fit --config configs/dlrm_criteo.yaml --config=my.yaml '--data.columns={a: [b, c]}'"
        " && python train.py fit --config configs/dlrm_criteo.yaml --ckpt_path=last"
    )
    assert row["configuration"] == "configs/dlrm_criteo.yaml + my.yaml"
    assert (row["metric"], row["value"], row["data"]) == ("val/auc", "0.9877", "real")
    assert (row["seconds"], row["peak_memory_mb"], row["hardware"]) == (91, 900, "2 cores of X")


def test_row_of_a_test_ends_with_the_last_command_that_measured_it() -> None:
    row = ledger.row(RUN, "test/auc")
    assert row["value"] == "0.75"
    assert row["command"].endswith("--ckpt_path=last && python train.py test --ckpt_path=best")


@pytest.mark.parametrize(
    ("change", "metric", "message"),
    [
        (lambda run: None, "test/loss", r"the run has no test/loss\. It has test/auc, val/auc"),
        (lambda run: run.update(best=None, evaluations=[]), None, r"the run has no best value\. It has none"),
        (lambda run: run["commands"][1].update(state="running"), None, "the run is running"),
        (lambda run: run["commands"][0].update(clean=False), None, "files differed from their commit"),
        (lambda run: run["evaluations"][1].update(clean=False), "test/auc", "files differed from their commit"),
        (lambda run: run["commands"][0].update(commit="1234abc"), None, r"at several commits, 1234abc, abc1234"),
    ],
)
def test_run_that_nobody_could_repeat_has_no_row(
    change: Callable[[dict[str, Any]], None], metric: str | None, message: str
) -> None:
    run = copy.deepcopy(RUN)
    change(run)
    with pytest.raises(InputError, match=message):
        ledger.row(run, metric)


def test_command_appends_a_row_and_leaves_the_others_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ledger.LEDGER.read_text(encoding="ascii")
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "results.csv")
    ledger.LEDGER.write_text(before, encoding="ascii")
    run = tmp_path / "logs" / "dlrm_criteo" / "version_0"
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    (run / "run.json").write_text(json.dumps(RUN))
    reference = ["--reference=0.984", "--reference_source=BARS, DLRM"]
    ledger.main(
        ["dlrm_criteo/version_0", f"--logs={tmp_path / 'logs'}", "--metric=test/auc", "--note=a, b", *reference]
    )
    after = ledger.LEDGER.read_text(encoding="ascii")
    assert after.startswith(before)
    assert after.removeprefix(before) == capsys.readouterr().out
    *_, added = csv.DictReader(after.splitlines())
    assert (added["note"], added["value"], added["reference_source"]) == ("a, b", "0.75", "BARS, DLRM")

    (run / "run.json").write_text('{"best": {"metric": "val/auc", "value": 1}, "commands": []}')
    with pytest.raises(SystemExit, match=r"run\.json: it is no record of a run"):
        ledger.main(["dlrm_criteo/version_0", f"--logs={tmp_path / 'logs'}"])
    assert ledger.LEDGER.read_text(encoding="ascii") == after
