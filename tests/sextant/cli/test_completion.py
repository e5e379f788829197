"""Completion in a shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from sextant.cli.completion import SCRIPT
from sextant.cli.overview import COMMANDS
from train import main

ROOT = Path(__file__).resolve().parents[3]
DLRM = "fit --config configs/dlrm_criteo.yaml "


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def completed(line: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as end:
        main(["completion", line])
    assert not end.value.code
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", list(COMMANDS)),
        ("va", ["validate"]),
        ("fit --config configs/tr", [f"configs/transformer_wikitext2{end}.yaml" for end in ("", "_baseline")]),
        ("fit --trainer.max", ["--trainer.max_epochs=", "--trainer.max_steps=", "--trainer.max_time="]),
        (
            DLRM + "--model.sparse",
            [f"--model.sparse_{part}{end}" for part in ("optimizer", "scheduler") for end in ".="],
        ),
        (DLRM + "--model.architecture.top", ["--model.architecture.top_mlp="]),
        (DLRM + "--model.depth", []),
        ("fit --config configs/resnet_tiny_imagenet.yaml --model.depth", ["--model.depth="]),
        ("fit --name=x", []),
    ],
)
def test_line_goes_on_with(line: str, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert completed(line, capsys) == expected


@pytest.mark.parametrize("begin", ["python train.py", "uv run train.py", f"python {ROOT}/train.py"])
def test_bash_completes_what_follows_the_program(begin: str) -> None:
    """``compopt`` stands for what only an interactive shell has, and so do the variables."""
    line = f"{begin} {DLRM}--data.enc"
    python = f'python3() {{ {sys.executable} "$@"; }}; compopt() {{ echo nospace; }}'
    shell = f"{python}; {SCRIPT}; COMP_LINE='{line}' COMP_POINT={len(line)}; _train_py; echo \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["nospace", "--data.encoding.", "--data.encoding="]


def test_bash_leaves_other_commands_alone() -> None:
    shell = f"{SCRIPT}; COMP_LINE='python other.py -' COMP_POINT=17; _train_py; echo \"<${{COMPREPLY[@]}}>\""
    assert subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout == "<>\n"


def test_script_is_printed_without_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion"])
    assert capsys.readouterr().out == f"{SCRIPT}\n"
