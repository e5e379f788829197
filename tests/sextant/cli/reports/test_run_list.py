"""The list of runs, and what two of them differ in."""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from sextant.cli.reports.run_list import list_runs
from sextant.errors import InputError
from tests.sextant.resume.interrupted import Folder
from train import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])


def write(run: str, config: str = "name: tiny\n", **last: Any) -> None:
    folder = Path("logs") / run
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    command: dict[str, Any] = {
        "began": "2026-01-02T03:04:05+00:00",
        "commit": "abc1234",
        "clean": True,
        "seconds": 61.6,
    }
    command |= {"state": "finished", "host": platform.node(), "pid": os.getpid()} | last
    earlier = command | {"began": "2026-01-01T00:00:00+00:00", "seconds": 3600.0, "state": "stopped"}
    record = {"epochs": 3, "best": {"metric": "val/loss", "value": 0.123456}, "commands": [earlier, command]}
    (folder / "run.json").write_text(json.dumps(record))


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    list_runs(words)
    return capsys.readouterr().out.splitlines()


def test_runs_are_listed_by_workload_with_what_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    write("b/version_0")
    write("a/version_0", clean=False, commit="def5678")
    workload, first, other, second = listed(capsys)
    assert (workload, other) == ("a", "b")
    for row, commit in ((first, "def5678*"), (second, "abc1234")):
        assert row.startswith("  version_0  2026-01-01 ") or row.startswith("  version_0  2025-12-31 ")  # local time
        assert row.endswith(f"  1:01:02  {commit}  3 epochs  val/loss 0.1235  finished  0 MB")


def test_run_whose_process_is_gone_was_killed(capsys: pytest.CaptureFixture[str]) -> None:
    write("a/alive", state="running")
    write("a/gone", state="running", pid=2**22 + 1)
    write("a/elsewhere", state="running", pid=2**22 + 1, host="another")
    ended = os.fork()
    if not ended:
        os._exit(0)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)  # it is still there, as a zombie
    write("a/zombie", state="running", pid=ended)
    states = {row.split()[0]: row.split()[-3] for row in listed(capsys)[1:]}
    os.waitpid(ended, 0)
    assert states == {"alive": "running", "gone": "killed", "elsewhere": "running", "zombie": "killed"}


def test_run_of_which_nothing_is_known_is_listed_too(capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("none", None), ("damaged", "{"), ("other", "[]")):
        write(f"a/{name}")
        file = Path("logs") / "a" / name / "run.json"
        file.unlink() if content is None else file.write_text(content)
    assert [row.split()[0] for row in listed(capsys)[1:]] == ["none", "damaged", "other"]


def test_two_runs_are_compared_by_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    callbacks = "  callbacks:\n  - class_path: a.One\n    init_args: {{n: {}}}\n"
    write("a/0", f"model:\n  class_path: b.C\n  init_args: {{depth: 1, width: 2}}\ntrainer:\n{callbacks.format(3)}")
    write(
        "a/1",
        f"model:\n  class_path: b.C\n  init_args: {{depth: 2}}\ntrainer:\n{callbacks.format(4)}  - class_path: a.Two\n",
    )
    found = [line.split() for line in listed(capsys, "a/0", "a/1")]
    assert found == [
        ["model.depth", "1", "->", "2"],
        ["model.width", "2", "->", "-"],
        ["trainer.callbacks.One.n", "3", "->", "4"],
        ["trainer.callbacks.Two", "-", "->", "there"],
    ]
    assert listed(capsys, "a/0", "logs/a/0") == ["They have the same settings."]


def test_mistakes_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"^logs: there is no such folder"):
        list_runs([])
    write("a/0")
    with pytest.raises(InputError, match=r"^a/1: there is no config\.yaml in logs/a/1"):
        list_runs(["a/0", "a/1"])
    with pytest.raises(SystemExit):
        list_runs(["a/0"])
    assert "give two runs to compare" in capsys.readouterr().err


def test_real_run_is_in_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Folder(tmp_path / "run").fit()
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["runs", "--logs=run/logs"])
    assert not end.value.code
    workload, row = capsys.readouterr().out.splitlines()
    assert workload == "tiny"
    assert "  1 epochs  val/loss " in row
    assert "finished" in row
