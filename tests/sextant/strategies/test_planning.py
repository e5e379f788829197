"""Plans by a strategy's settings: how much memory and how large a batch is planned with."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger

from sextant.errors import InputError
from sextant.strategies.planning import Planning, keep_plan
from sextant.strategies.table_constraints import GB, TableConstraints
from tests.sextant.strategies.planned_models import TWO, model, plan

CPU = torch.device("cpu")


def test_memory_is_what_is_given_or_a_part_of_the_hosts_for_each_process() -> None:
    assert Planning(memory_gb=1.5).devices(CPU, 8, 4).memory == 1.5 * GB
    one, four = (Planning().devices(CPU, 8, per_node).memory for per_node in (1, 4))
    assert one == pytest.approx(4 * four, abs=4)
    (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")]
    assert 0 < one < 1024 * int(line.split()[1])


def test_larger_batches_cost_more_whoever_tells_their_size() -> None:
    """The batch size of the data is that of all processes together."""

    def cost(batch_size: int | None, data: object) -> float:
        planning = Planning(TableConstraints(["row_wise"]), batch_size=batch_size)
        return sum(cost for _, cost in planning.plan(model(), TWO, data).loads())

    assert cost(64, None) < cost(4096, None)
    assert cost(None, SimpleNamespace(batch_size=128)) == cost(64, SimpleNamespace(batch_size=9999))
    assert cost(None, None) == cost(1024, None)


def test_plan_of_a_file_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(plan("row_wise").to_json())
    planning = Planning(TableConstraints(["column_wise"]), file=tmp_path / "plan.json")
    assert planning.plan(model(), TWO, None) == plan("row_wise")


def test_model_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Linear has no EmbeddingBagCollection"):
        Planning().plan(torch.nn.Linear(1, 1), TWO, None)


def test_plan_is_kept_only_where_there_is_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = plan("row_wise")
    keep_plan(Trainer(accelerator="cpu", logger=False), made)
    assert not list(tmp_path.iterdir())
    keep_plan(Trainer(accelerator="cpu", logger=CSVLogger(tmp_path, "log", 0)), made)
    assert (tmp_path / "log" / "version_0" / "table_plan.json").read_text() == made.to_json()
