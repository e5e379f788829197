"""The names of strategies."""

import pytest

from sextant import strategies


@pytest.mark.parametrize(
    ("word", "imported"),
    [
        ("--trainer.strategy=TorchRecStrategy", True),
        ("--trainer.strategy.class_path=TorchRecStrategy", True),
        ("--trainer.strategy=ddp", False),
        ("--name=TorchRecStrategy", False),
    ],
)
def test_strategy_is_imported_where_its_class_is_named(
    word: str, imported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    monkeypatch.setattr(strategies, "import_module", names.append)
    strategies.import_strategies(["fit", word, "--trainer.strategy.sharding_types=[row_wise]"])
    assert names == ["sextant.strategies.torchrec"] * imported
