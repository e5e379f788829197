"""What every workload does in one process."""

import itertools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from tests.workloads.runs import Run
from tests.workloads.workload import Workload


def test_run_leaves_checkpoints_its_configuration_and_a_log(whole: Run) -> None:
    assert {"best.ckpt", "last.ckpt"} <= {file.name for file in (whole.log_folder / "checkpoints").iterdir()}
    assert (whole.log_folder / "config.yaml").exists()
    measured = whole.scalars()
    for name in ("train/loss", "val/loss"):
        assert [step for step, _ in measured[name]] == [1, 2]
        assert all(math.isfinite(value) for _, value in measured[name])


def test_every_callback_of_the_configuration_sees_the_run_to_its_end(workload: Workload, whole: Run) -> None:
    ran = set((whole.record / "callbacks").read_text().splitlines())
    assert workload.callbacks() <= ran
    tags = whole.board().Tags()
    assert {"throughput/data_wait", "gradient_norm"} <= set(tags["scalars"])
    for pattern in (r"throughput/\w+_per_second", "lr-"):
        assert any(re.match(pattern, tag) for tag in tags["scalars"]), pattern


def test_every_sample_is_seen_once_an_epoch_in_another_order_each_time(whole: Run) -> None:
    """Less than a batch may be left out, where all have one size, but never the same samples in each epoch."""
    orders = [whole.steps("train", epoch) for epoch in range(whole.epochs)]
    counts = set()
    for epoch, steps in enumerate(orders):
        trained, validated = whole.samples("train", epoch), whole.samples("val", epoch)
        gaps = [b - a for a, b in itertools.pairwise(trained)]
        stride = min(gaps)  # a text's windows are named by their first words, and lie side by side
        assert stride > 0
        assert all(gap % stride == 0 for gap in gaps)
        assert sum(gap // stride - 1 for gap in gaps) < len(steps[0])
        assert validated == list(range(len(validated)))
        counts.add((len(trained), len(validated)))
    assert len(counts) == 1
    in_order = [index for step in orders[0] for index in step] == whole.samples("train", 0)  # a text in columns
    assert in_order or all(a != b for a, b in itertools.combinations(orders, 2))


@pytest.mark.slow
def test_validating_gives_what_was_measured_in_the_run(
    workload: Workload, whole: Run, command: Callable[..., Any]
) -> None:
    """The best checkpoint, though it was loaded anew."""
    best = workload.settings["best_checkpoint"]
    values = [value for _, value in whole.scalars()[best["monitor"]]]
    found = command("validate").trainer.callback_metrics[best["monitor"]].item()
    assert found == pytest.approx(max(values) if best["mode"] == "max" else min(values), rel=1e-5)


def attempt(command: Callable[..., Any], *arguments: str) -> tuple[Any, str]:
    """Run a command that may be refused.

    Returns:
        What it returned, and the reason of the refusal, empty if there was none.
    """
    try:
        return command(*arguments), ""
    except InputError as error:
        return None, str(error)


@pytest.mark.slow
def test_test_split_is_measured_or_refused_with_a_reason(command: Callable[..., Any]) -> None:
    cli, reason = attempt(command, "test")
    if reason:
        assert re.search(r"\btest\b", reason)
    else:
        assert math.isfinite(cli.trainer.callback_metrics["test/loss"])


def test_predictions_are_a_row_for_each_sample(command: Callable[..., Any], tmp_path: Path) -> None:
    output = tmp_path / "predictions.jsonl"
    command("predict", f"--predictions.output={output}")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert rows
    assert all(list(row) == list(rows[0]) for row in rows)
    assert next(iter(rows[0])) == "file"
    assert len(rows[0]) > 1


@pytest.mark.slow
def test_model_is_exported_or_refused_with_a_reason(command: Callable[..., Any], tmp_path: Path) -> None:
    output = tmp_path / "model.pt2"
    _, reason = attempt(command, "export", "--format=torch_export", f"--output={output}", "--samples=4")
    if reason:
        assert re.search(r"\b(cannot|export)", reason)
        assert not list(tmp_path.iterdir())
        return
    description = json.loads(Path(f"{output}.json").read_text())
    assert description["file_bytes"] == output.stat().st_size
    assert description["measured"]["agreement"] > 0.99
