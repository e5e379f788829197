"""The command that plans tables for devices that are not there, with every configuration of a strategy."""

import json
from pathlib import Path

import pytest

from sextant.cli.plan import main
from sextant.errors import InputError
from sextant.strategies.table_plan import Plan

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
OVERLAYS = sorted((CONFIGS / "strategies").glob("*.yaml"))
HERE = [
    f"--config={CONFIGS / 'dlrm_criteo.yaml'}",
    "--devices=4",
    "--devices_per_node=2",
    "--kind=cpu",
    "--memory_gb=1",
]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda file: file.stem)
def test_every_configuration_of_a_strategy_cuts_tables_in_its_way(
    overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "plan.json"
    main([*HERE, f"--config={overlay}", f"--output={output}"])
    plan = Plan.from_json(output.read_text())
    assert str(plan) in capsys.readouterr().out
    assert [table.name for table in plan.tables] == [f"C{i}" for i in range(1, 27)]
    kinds = {table.sharding_type for table in plan.tables}
    if overlay.stem != "torchrec":
        assert kinds == {overlay.stem.removeprefix("torchrec_")}
    for table in plan.tables:
        cells = sum(shard.rows * shard.columns for shard in table.shards)
        copies = len(table.shards) if table.sharding_type == "data_parallel" else 1
        assert cells == copies * 16 * max(shard.row + shard.rows for shard in table.shards)
        assert {shard.rank for shard in table.shards} <= {0, 1, 2, 3}
        if table.sharding_type in ("table_row_wise", "table_column_wise"):
            assert len({shard.rank // 2 for shard in table.shards}) == 1  # on one node


def test_plan_that_was_written_is_used_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "plan.json"
    main([*HERE, f"--config={CONFIGS / 'strategies' / 'torchrec_row_wise.yaml'}", f"--output={output}"])
    strategy = ["--trainer.strategy=sextant.strategies.torchrec.TorchRecStrategy", f"--trainer.strategy.plan={output}"]
    capsys.readouterr()
    main([*HERE, *strategy])
    assert str(Plan.from_json(output.read_text())) in capsys.readouterr().out
    plan = json.loads(output.read_text())
    plan["tables"].pop()
    output.write_text(json.dumps(plan))
    with pytest.raises(InputError, match=r"for other tables: the model has a table tables\.C26, the plan has not"):
        main([*HERE, *strategy])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices=0"], "--devices is 0; it must be 1 or more"),
        (["--devices=3"], "must be a multiple of --devices_per_node"),
        (["--memory_gb=-1"], "--memory_gb is -1; it must be above 0"),
        (["--memory_gb=0.05"], "do not fit: .* About [0-9]+ devices would do, or memory_gb="),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_said(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        main([*HERE, *words])
