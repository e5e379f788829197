"""The commands that README.md, CONTRIBUTING.md and docs/ show: each is understood, and what can be run, runs.

A command is run if it is given synthetic data (``synthetic`` stands in it): those of a page one after the other in one
folder, as one reads them, with two batches of an epoch.
"""

import itertools
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import own_data
from tests.launch import finish, start
from train import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "app/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
#: Commands with a configuration, which can be printed instead of run.
CONFIGURED = {"fit", "validate", "test", "predict", "export", "plan"}
FEW = {
    "fit": ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"],
    "validate": ["--trainer.limit_val_batches=1"],
    "test": ["--trainer.limit_test_batches=1"],
    "predict": ["--trainer.limit_predict_batches=1"],
}


def commands(page: Path) -> list[list[str]]:
    """The words of each command that a page shows."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    blocks = [re.sub(r"<<'(\w+)'\n.*?^\1$", "", block, flags=re.MULTILINE | re.DOTALL) for block in blocks]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def trainings(page: Path) -> list[list[str]]:
    """The arguments of ``train.py`` in the commands of a page."""
    return [words[words.index("train.py") + 1 :] for words in commands(page) if "train.py" in words]


def is_run(arguments: list[str]) -> bool:
    """Whether a test runs the command."""
    return any("synthetic" in word for word in arguments)


def together() -> dict[str, list[str]]:
    """The arguments of all commands that are not run, those with the same configurations at once, to be parsed."""
    found: dict[str, list[str]] = {}
    for arguments in itertools.filterfalse(is_run, itertools.chain.from_iterable(map(trainings, PAGES))):
        files = [word for before, word in itertools.pairwise(arguments) if before == "--config"]
        if any(file.startswith("logs/") for file in files):  # of a run, as the tests of own data make
            continue
        found.setdefault(" ".join([*arguments[:1], *files]), arguments[:1]).extend(arguments[1:])
    return found


SHOWN = together()
RUN = [
    # Pages take minutes, so each may be in another process of the tests.
    pytest.param(page, id=(name := str(page.relative_to(ROOT))), marks=pytest.mark.xdist_group(name))
    for page in PAGES
    if any(map(is_run, trainings(page)))
]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands find the configurations, as ``train.py``."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.mark.parametrize("arguments", SHOWN.values(), ids=SHOWN)
def test_shown_commands_are_understood(arguments: list[str]) -> None:
    configured = arguments[:1] and arguments[0] in CONFIGURED
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--print_config"] if configured else [*arguments[:1], "--help"])
    assert end.value.code in (0, None)


def test_shown_modules_exist() -> None:
    pairs = itertools.chain.from_iterable(itertools.pairwise(words) for page in PAGES for words in commands(page))
    shown = {
        module for (before, option), (_, module) in itertools.pairwise(pairs) if (before, option) == ("python", "-m")
    }
    assert shown
    assert [module for module in shown if not find_spec(module)] == []


def run_few(arguments: list[str], folder: Path) -> None:
    """Run a command of ``train.py`` with few batches in a folder, which has the configurations."""
    more = [*FEW.get(arguments[0], [])]
    if arguments[0] == "fit" and not any("max_epochs" in word for word in arguments):
        more.append("--trainer.max_epochs=1")
    if any(word.startswith("--trainer.devices=") for word in arguments):  # Lightning starts the command again
        subprocess.run([sys.executable, str(ROOT / "train.py"), *arguments, *more], cwd=folder, check=True)
        return
    log = folder / "log"
    finish([start([*arguments, *more], folder, log=log)], log)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_commands_of_a_page_with_synthetic_data_run(page: Path, tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for arguments in filter(is_run, trainings(page)):
        run_few(arguments, tmp_path)


@pytest.mark.slow
def test_commands_on_own_data_run(tmp_path: Path) -> None:
    page = ROOT / "docs" / "own-data.md"
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    own_data.make(tmp_path / "my")
    (program,) = re.findall(r"<<'END'\n(.*?)^END$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    log = tmp_path / "log"
    for arguments in trainings(page):
        log.unlink(missing_ok=True)
        run_few(arguments, tmp_path)
        proposed = [line for line in log.read_text().splitlines() if " predict --config=" in line]
        assert bool(proposed) == (arguments[0] == "fit")
        for words in map(shlex.split, proposed):
            run_few(words[words.index("train.py") + 1 :], tmp_path)
