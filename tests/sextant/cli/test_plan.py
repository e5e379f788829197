"""``train.py plan``: tables planned for devices that are not there, of our module and of others."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torchrec.modules.embedding_configs import EmbeddingBagConfig
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from typing_extensions import override

from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.strategies.table_plan import Plan
from train import main

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
OVERLAYS = sorted((CONFIGS / "strategies").glob("*.yaml"))
STRATEGY = "--trainer.strategy=sextant.strategies.torchrec.TorchRecStrategy"


class Shop(BaseDataModule):
    """Data that knows how many goods there are only after it was set up."""

    def __init__(self) -> None:
        super().__init__(num_workers=0, seed=0)
        self.goods = 0

    @override
    def prepare_data(self) -> None:
        Path("prepared").touch()

    @override
    def setup(self, stage: str) -> None:
        assert (stage, Path("prepared").exists()) == ("fit", True)
        self.goods = 1000


class Recommender(LightningModule):
    """A module that takes the size of its table from its data."""

    goods = 0

    @override
    def setup(self, stage: str) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self.goods = data.goods

    @override
    def configure_model(self) -> None:
        goods = EmbeddingBagConfig(name="goods", embedding_dim=8, num_embeddings=self.goods, feature_names=["bought"])
        self.tables = EmbeddingBagCollection([goods])
        assert self.tables.embedding_bags["goods"].weight.device == torch.device("meta")


class Tableless(LightningModule):
    """A module without tables, whose data must not be touched."""


@pytest.fixture
def here(small: Callable[[str], list[str]], folder: Path) -> list[str]:
    """Click prediction on a few rows of data."""
    where = ["--devices=4", "--devices_per_node=2", "--kind=cpu", "--memory_gb=1"]
    sizes = "--data.table_sizes=1000000"
    return ["plan", *small("dlrm_criteo"), sizes, *where]


def of_this_file(model: type) -> list[str]:
    return ["plan", f"--model={__name__}.{model.__name__}", f"--data={__name__}.Shop"]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda file: file.stem)
def test_every_configuration_of_a_strategy_shards_tables_in_its_way(
    here: list[str], overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "plan.json"
    main([*here, f"--config={overlay}", f"--output={output}"])
    plan = Plan.from_json(output.read_text())
    assert str(plan) in capsys.readouterr().out
    assert [table.name for table in plan.tables] == [f"C{i}" for i in range(1, 27)]
    kinds = {table.sharding_type for table in plan.tables}
    if overlay.stem != "torchrec":
        assert kinds == {overlay.stem.removeprefix("torchrec_")}
    for table in plan.tables:
        cells = sum(shard.rows * shard.columns for shard in table.shards)
        replicas = len(table.shards) if table.sharding_type == "data_parallel" else 1
        assert cells == replicas * 8 * max(shard.row + shard.rows for shard in table.shards)
        assert {shard.rank for shard in table.shards} <= {0, 1, 2, 3}
        if table.sharding_type in ("table_row_wise", "table_column_wise"):
            assert len({shard.rank // 2 for shard in table.shards}) == 1  # on one node


def test_any_module_is_planned_after_its_data_was_set_up_and_nothing_but_the_plan_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    types = [STRATEGY, "--trainer.strategy.init_args.sharding_types=[row_wise]"]
    main([*of_this_file(Recommender), *types, "--devices=16", "--devices_per_node=8", "--output=plan.json"])
    plan = Plan.from_json(Path("plan.json").read_text())
    assert str(plan) in capsys.readouterr().out
    assert (plan.devices, plan.per_node, plan.kind) == (16, 8, "cuda")
    (table,) = plan.tables
    assert (table.module, table.name, table.sharding_type) == ("tables", "goods", "row_wise")
    assert sum(shard.rows for shard in table.shards) == 1000
    assert {entry.name for entry in tmp_path.iterdir()} == {"prepared", "plan.json"}


def test_memory_is_counted_in_gb_of_2_to_the_30_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the message says by how many bytes the tables do not fit."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="goods does not fit") as raised:
        main([*of_this_file(Recommender), "--devices=1", f"--memory_gb={20_000 / 2**30}"])
    numbers = re.search(r"takes ([\d,]+) bytes, ([\d,]+) more than", str(raised.value))
    assert numbers is not None
    needed, missing = (int(number.replace(",", "")) for number in numbers.groups())
    assert needed - missing == 20_000


def test_module_without_tables_is_one_error_before_its_data_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Tableless has no EmbeddingBagCollection"):
        main([*of_this_file(Tableless), "--devices=2"])
    assert not list(tmp_path.iterdir())


def test_plan_that_was_written_is_used_as_it_is(
    here: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "plan.json"
    main([*here, f"--config={CONFIGS / 'strategies' / 'torchrec_row_wise.yaml'}", f"--output={output}"])
    again = [STRATEGY, f"--trainer.strategy.plan={output}"]
    capsys.readouterr()
    main([*here, *again])
    assert str(Plan.from_json(output.read_text())) in capsys.readouterr().out
    plan = json.loads(output.read_text())
    plan["tables"].pop()
    output.write_text(json.dumps(plan))
    with pytest.raises(InputError, match=r"for other tables: the model has a table tables\.C26, the plan has not"):
        main([*here, *again])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices=0"], r"--devices: it is 0, and must be >0"),
        (["--devices=3"], r"--devices is 3; it must be a multiple of --devices_per_node \(2\)"),
        (["--memory_gb=-1"], r"--memory_gb: it is -1, and must be >0"),
        (["--kind=tpu"], r"--kind: it must be one of 'cuda', 'cpu'\. It is tpu\."),
        (["--memory_gb=0.04"], "do not fit: .* About [0-9]+ devices would do, or memory_gb="),
        (["--output=nowhere/plan.json"], r"nowhere/plan\.json: the plan cannot be written .*another --output"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_said(here: list[str], options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        main([*here, *options])
