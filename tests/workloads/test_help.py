"""What ``--help`` says of every workload: its own settings first, each with its value."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.workloads.workload import Workload
from train import main


def test_help_shows_the_settings_of_the_workload_first(workload: Workload, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit", f"--config={workload.config}", "--data.num_workers=7", "--help"])
    assert not end.value.code
    said = capsys.readouterr().out
    assert not [line for line in said.splitlines() if len(line) > 80 and "--" not in line]
    order = [
        said.index(f"\n{head}")
        for head in (f"model: {workload.model}", f"data: {workload.data}", "the run:", "trainer:")
    ]
    assert order == sorted(order)
    assert "\n  --data.num_workers=7 " in said
    assert f"\n  --trainer.max_epochs={workload.settings['trainer']['max_epochs']} " in said
    for part in ("model", "data"):
        for name, value in settings(part, workload.settings[part]["init_args"]):
            assert f"\n  --{name}={value}" in said


def settings(prefix: str, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The plain values of a configuration by the names that the command line has for them."""
    for name, value in given.items():
        if isinstance(value, dict):
            inner = value.get("init_args", {}) if "class_path" in value else value
            yield from settings(f"{prefix}.{name}", inner)
            if "class_path" in value:
                yield f"{prefix}.{name}", value["class_path"]
        elif isinstance(value, bool):
            yield f"{prefix}.{name}", str(value).lower()
        elif isinstance(value, str):
            yield f"{prefix}.{name}", value
