"""What train.py says of itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from sextant.cli.cli import SextantCLI
from sextant.cli.overview import COMMANDS, overview
from train import SHARED_CONFIG, main

ROOT = Path(__file__).resolve().parents[3]


def test_help_names_commands_workloads_and_examples_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert not end.value.code
    said = capsys.readouterr().out
    assert set(COMMANDS) == {*SextantCLI.subcommands(), "consolidate", "runs", "report"}
    assert " ..." not in said.partition("workloads:")[2].partition("examples")[0]
    for name in (*COMMANDS, *(file.stem for file in ROOT.glob("configs/*.yaml") if file.stem != "trainer")):
        assert f"\n  {name} " in said
    assert said.count(" --config configs/") >= 3
    assert all(len(line) <= 80 for line in said.splitlines())


def test_command_without_arguments_fails_and_says_the_same() -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == overview("python train.py", SHARED_CONFIG)


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys; sys.argv = ['train.py', '--help']; import runpy; runpy.run_path('train.py', run_name='__main__')"
    )
    shown = "import atexit, sys; atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr))\n"
    done = subprocess.run([sys.executable, "-c", shown + code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "commands:" in done.stdout
    assert not [name for name in ("torch", "lightning", "numpy", "jsonargparse") if f"'{name}'" in done.stderr]
