"""The YAML files of a command."""

import sys
from pathlib import Path

import pytest

from sextant.cli.parsing.config_files import check_files, config_files, is_argument, place_of
from sextant.errors import InputError
from tests.sextant.tiny import ARGUMENTS
from train import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return f"--config={name}"


BASE = "name: one\nmodel:\n  class_path: a.B\n  init_args:\n    depth: 3\n    optimizer: {lr: 1}\n"


def test_files_are_those_of_config_in_their_order() -> None:
    write("a.yaml", BASE)
    write("b.yaml", BASE)
    assert config_files(["fit", "--config", "b.yaml", "--data=a.yaml", "--config=a.yaml", "--config", "none.yaml"]) == [
        Path("b.yaml"),
        Path("a.yaml"),
    ]


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("name", "a.yaml, line 1"),
        ("model.init_args.depth", "a.yaml, line 5"),
        ("model.depth", "a.yaml, line 5"),
        ("model.optimizer.lr", "a.yaml, line 6"),
        ("trainer.callbacks", "b.yaml, line 3"),
        ("trainer.max_epochs", "b.yaml, line 2"),
        ("trainer", "b.yaml, line 1"),
        ("model.width", None),
        ("name.more", None),
    ],
)
def test_place_of_a_setting_is_that_in_the_last_file_that_has_it(key: str, place: str | None) -> None:
    files = [write("a.yaml", f"{BASE}trainer: {{max_epochs: 3}}\n")]
    files.append(write("b.yaml", "trainer:\n  max_epochs: 4\n  callbacks+: [x]\n"))
    assert place_of(key, files) == place


def test_settings_that_arguments_say_are_known() -> None:
    arguments = ["--trainer.callbacks+=x", "--data.root", "here"]
    assert is_argument("trainer.callbacks", arguments)
    assert is_argument("data.root", arguments)
    assert not is_argument("data", arguments)


def test_line_of_a_mistake_is_named_with_the_file() -> None:
    wrong = write("wrong.yaml", "trainer:\n  max_epoch: 3\n")
    with pytest.raises(
        InputError, match=r"^wrong\.yaml, line 2: trainer\.max_epoch: .*Did you mean trainer\.max_epochs"
    ):
        main(["fit", *ARGUMENTS, wrong])
    wrong = write("wrong.yaml", "data:\n  init_args:\n\n    batch_size: many\n")
    with pytest.raises(InputError, match=r"^wrong\.yaml, line 4: data\.batch_size: it must be of type int"):
        main(["fit", *ARGUMENTS, wrong])


def test_what_is_no_yaml_is_named_by_its_line() -> None:
    with pytest.raises(
        InputError, match=r"^a\.yaml, line 3: this is no YAML: .* \(while parsing .* begins in line 1\)"
    ):
        check_files(["fit", write("a.yaml", "model:\n  depth: 1\n width: [\n")])


def test_workload_that_is_missing_or_not_the_only_one_is_named() -> None:
    base, other = write("a.yaml", BASE), write("b.yaml", BASE.replace("one", "two"))
    with pytest.raises(InputError, match=r"^a\.yaml and b\.yaml are different workloads \(one, two\)"):
        check_files(["fit", base, other])
    more = write("more.yaml", "model:\n  init_args: {depth: 4}\n")
    with pytest.raises(InputError, match=r"more\.yaml changes settings of a workload, and none is given.*--config"):
        check_files(["fit", more])
    check_files(["fit", base, more])
    check_files(["fit", "--model=a.B", more])
    check_files(["fit", base, write("same.yaml", BASE)])
    check_files(["fit", write("trainer.yaml", "trainer: {max_epochs: 3}\n")])
