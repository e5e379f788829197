"""The click predictor by itself, without a Trainer."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torchrec
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from modules.dlrm import ClickPredictor, in_backward_settings
from modules.networks.dlrm import DLRMArchitecture
from modules.row_wise_adagrad import RowWiseAdagrad
from modules.sparse_and_dense import SparseAndDense
from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.strategies.embedding_tables import fill_table

TABLES = {"b": 7, "a": 5}
SPEC = DataSpec(table_sizes=TABLES, dense_features=("x", "y", "z"))
TINY: dict[str, Any] = {"num_dense": 3, "num_sparse": 2}
SIZES: dict[str, Any] = {"embedding_dim": 4, "bottom_mlp": (5,), "top_mlp": (6,)}


def make(pooling: Any = "sum", **more: Any) -> ClickPredictor:
    torch.manual_seed(0)
    model = ClickPredictor(**TINY, architecture=DLRMArchitecture(**SIZES, pooling=pooling), **more)
    model.data_spec = SPEC
    model.configure_model()
    return model


def batch(size: int = 4) -> dict[str, Any]:
    """One value of the first feature; none, one, two and twice the same of the second."""
    values = torch.tensor([1, 6, 0, 1, 4, 2, 3, 3, 3], dtype=torch.int32)
    lengths = torch.tensor([1, 1, 1, 1, 0, 1, 2, 2], dtype=torch.int32)
    return {
        "dense": torch.arange(12.0).reshape(4, 3) / 12,
        "sparse": KeyedJaggedTensor(list(TABLES), values, lengths=lengths),
        "label": torch.tensor([1.0, 0.0, 1.0, 0.0]),
        "weight": torch.tensor([1.0, 1.0, 1.0, 0.0]),
        "index": torch.arange(4),
    }


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_logits_are_those_of_pooled_rows_of_each_features_own_table(pooling: str) -> None:
    model, data = make(pooling=pooling), batch()
    tables: Any = model.tables
    rows = [[[1], [6], [0], [1]], [[], [4], [2, 3], [3, 3]]]
    pooled = []
    for name, bags in zip(TABLES, rows, strict=True):
        weight = tables.embedding_bags[name].weight
        sums = torch.stack([weight[bag].sum(0) for bag in bags])
        counts = torch.tensor([[max(1, len(bag))] for bag in bags])
        pooled.append(sums / counts if pooling == "mean" else sums)
    expected = model.network(data["dense"], torch.stack(pooled, 1))
    assert torch.allclose(model(data["dense"], data["sparse"]), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["sum", "mean"])
@pytest.mark.parametrize("keys", [["b", "a"], ["a", "b"]])
@given(data=st.data())
@settings(max_examples=25)
def test_exported_network_gives_the_same_logits_for_padded_categories(
    pooling: str, keys: list[str], data: st.DataObject
) -> None:
    model = make(pooling=pooling)
    size = data.draw(st.integers(1, 5))
    bags = [data.draw(st.lists(st.integers(0, TABLES[key] - 1), max_size=4)) for key in keys for _ in range(size)]
    values = torch.tensor([row for bag in bags for row in bag], dtype=torch.int32)
    lengths = torch.tensor([len(bag) for bag in bags], dtype=torch.int32)
    dense = torch.randn(size, 3)
    taken = {"dense": dense, "sparse": KeyedJaggedTensor(keys, values, lengths=lengths)}
    graph = model.export_graph()
    given_dense, categories, counts = graph.inputs_of(taken)
    assert categories.shape == (size, 2, max(1, int(lengths.max())))
    with torch.no_grad():
        expected = model(dense, taken["sparse"])
        assert torch.allclose(graph.network(given_dense, categories, counts), expected, atol=1e-6)
        # Whatever fills up the places behind the last category does not count.
        behind = torch.arange(categories.shape[2]) >= counts[:, :, None]
        noise = torch.randint(5, categories.shape)
        found = graph.network(given_dense, torch.where(behind, noise, categories), counts)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(graph.decisions((found,)), found > 0)


def test_order_of_the_keys_of_a_batch_does_not_matter() -> None:
    model, data = make(), batch()
    parts = data["sparse"].to_dict()
    turned = KeyedJaggedTensor(
        ["a", "b"],
        torch.cat([parts[key].values() for key in ("a", "b")]),
        lengths=torch.cat([parts[key].lengths() for key in ("a", "b")]),
    )
    assert torch.allclose(model(data["dense"], turned), model(data["dense"], data["sparse"]), atol=1e-6)


def test_rows_that_pad_a_batch_do_not_count() -> None:
    model, data = make(), batch()
    loss = model.step(data, model.train_metrics)["loss"]
    probabilities = model(data["dense"], data["sparse"]).sigmoid()[:3]
    expected = -torch.stack([probabilities[0].log(), (1 - probabilities[1]).log(), probabilities[2].log()]).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.train_metrics.compute()["train/loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    tables: Any = model.tables
    gradient = tables.embedding_bags["a"].weight.grad
    assert gradient.is_sparse
    assert (gradient.to_dense()[[0, 1]] == 0).all()  # asked for by none
    assert (gradient.to_dense()[[4, 2]] != 0).any(1).all()


def test_predicted_rows_are_probabilities_and_none_for_rows_that_pad() -> None:
    model, data = make(), batch()
    del data["label"]
    rows = model.predict_step(data, 0)
    probabilities = model(data["dense"], data["sparse"]).sigmoid().tolist()
    assert rows == [*({"click_probability": pytest.approx(probability)} for probability in probabilities[:3]), None]


def test_tables_begin_as_the_seed_says_and_are_made_once() -> None:
    model = make()
    tables: Any = model.tables
    for config in tables.embedding_bag_configs():
        expected = torch.empty(TABLES[config.name], 4)
        fill_table(expected, config, 0)
        assert torch.equal(tables.embedding_bags[config.name].weight, expected)
    model.configure_model()
    assert model.tables is tables


def test_tables_on_the_meta_device_say_how_they_are_to_be_optimized() -> None:
    torch.manual_seed(0)
    model = ClickPredictor(**TINY, sparse_optimizer=lambda p: RowWiseAdagrad(p, lr=0.3, eps=1e-3))
    model.data_spec = SPEC
    with torch.device("meta"):
        model.configure_model()
    assert model.tables is not None
    for parameter in model.tables.parameters():
        assert parameter.is_meta
        assert parameter._optimizer_classes == [torchrec.optim.RowWiseAdagrad]  # type: ignore[attr-defined]
        assert parameter._optimizer_kwargs == [{"lr": 0.3, "eps": 1e-3}]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make_optimizer", "settings"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.2), {"lr": 0.2}),
        (lambda p: torch.optim.Adagrad(p, lr=0.2, eps=1e-4), {"lr": 0.2, "eps": 1e-4}),
    ],
)
def test_settings_in_the_backward_pass_are_those_of_the_optimizer(make_optimizer: Any, settings: Any) -> None:
    assert in_backward_settings(make_optimizer) == (type(make_optimizer([torch.ones(1)])), settings)


@pytest.mark.parametrize(
    ("make_optimizer", "message"),
    [
        (lambda p: torch.optim.RMSprop(p), r"model\.sparse_optimizer is RMSprop; tables are optimized by"),
        (lambda p: torch.optim.SparseAdam(p, maximize=True), r"sparse_optimizer\.maximize is True"),
        (lambda p: torch.optim.SGD(p, lr=1, momentum=0.9), r"model\.sparse_optimizer\.momentum is 0\.9"),
        (lambda p: torch.optim.SGD(p, lr=1, weight_decay=0.1), r"sparse_optimizer\.weight_decay is 0\.1"),
        (lambda p: torch.optim.SGD(p, lr=1, maximize=True), r"sparse_optimizer\.maximize is True"),
        (lambda p: torch.optim.Adagrad(p, lr_decay=0.1), r"sparse_optimizer\.lr_decay is 0\.1"),
        (lambda p: torch.optim.Adagrad(p, initial_accumulator_value=0.1), r"initial_accumulator_value is 0\.1"),
    ],
)
def test_optimizers_that_tables_cannot_have_are_refused(make_optimizer: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClickPredictor(**TINY, sparse_optimizer=make_optimizer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_dense": -1}, r"model\.num_dense is -1"),
        ({"num_sparse": 0}, r"model\.num_sparse is 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClickPredictor(**{**TINY, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding_dim": 0}, r"model\.architecture\.embedding_dim is 0"),
        ({"bottom_mlp": (4, 0)}, r"model\.architecture\.bottom_mlp is \(4, 0\)"),
        ({"top_mlp": (-1,)}, r"model\.architecture\.top_mlp is \(-1,\)"),
        ({"cross_rank": 0}, r"model\.architecture\.cross_rank is 0"),
        ({"dropout": 1.0}, r"model\.architecture\.dropout is 1\.0"),
    ],
)
def test_sizes_that_make_no_sense_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DLRMArchitecture(**settings)


def test_data_with_other_features_is_refused() -> None:
    model = ClickPredictor(**TINY)
    with pytest.raises(InputError, match=r"model\.num_sparse is 2, but the data has 3.*--model\.num_sparse=3"):
        model.check_data(replace(SPEC, table_sizes={**TABLES, "c": 3}))
    with pytest.raises(InputError, match=r"model\.num_dense is 3, but the data has 1.*--model\.num_dense=1"):
        model.check_data(replace(SPEC, dense_features=("x",)))


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        ({"b": 7, "a": 6}, "table sizes have 6 for 'a' where the data has 5"),
        ({"b": 7}, "table sizes have None for 'a' where the data has 5"),
        ({"a": 5}, "table sizes have None for 'b' where the data has 7"),
    ],
)
def test_checkpoint_of_other_tables_is_refused(trained: dict[str, int], message: str) -> None:
    model = make()
    saved: dict[str, Any] = {}
    model.on_save_checkpoint(saved)
    model.on_load_checkpoint(saved)
    with pytest.raises(InputError, match=message):
        model.on_load_checkpoint({"data_spec": {"table_sizes": trained}})


def test_gradients_of_the_dense_part_alone_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, SparseAndDense)
    clipped: list[Any] = []
    monkeypatch.setattr(model, "clip_gradients", lambda *settings: clipped.append(settings))
    model.configure_gradient_clipping(optimizer, 0.5, "norm")
    ((of, value, algorithm),) = clipped
    assert (value, algorithm) == (0.5, "norm")
    parameters = {p for group in of.param_groups for p in group["params"]}
    assert parameters == set(model.network.parameters())


def test_each_parameter_is_optimized_once_by_its_own_optimizer() -> None:
    model = make(sparse_optimizer=lambda p: torch.optim.SGD(p, lr=0.5), optimizer=lambda p: torch.optim.Adam(p, lr=0.1))
    optimizer = model.configure_optimizers()
    assert model.tables is not None
    groups = {group["name"]: (group["lr"], set(group["params"])) for group in optimizer.param_groups}
    assert groups == {
        "sparse": (0.5, set(model.tables.parameters())),
        "dense": (0.1, set(model.network.parameters())),
    }
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    model.step(batch(), model.train_metrics)["loss"].backward()
    optimizer.step()
    for name, value in model.named_parameters():
        assert not torch.equal(value, before[name]), name
    table = before["tables.embedding_bags.b.weight"]
    rows = (dict(model.named_parameters())["tables.embedding_bags.b.weight"] != table).any(1)
    assert rows.tolist() == [True, True, False, False, False, False, True]


def test_adam_moves_all_rows_with_its_penalty_and_lazy_adam_those_of_the_batch() -> None:
    adam: Any = lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)  # noqa: E731
    for make_optimizer, expected in ((adam, [True] * 7), (torch.optim.SparseAdam, [True, True, *[False] * 4, True])):
        model, data = make(sparse_optimizer=make_optimizer), batch()
        table: Any = dict(model.named_parameters())["tables.embedding_bags.b.weight"]
        before = table.detach().clone()
        optimizer = model.configure_optimizers()
        for _ in range(3):
            optimizer.zero_grad()
            model.step(data, model.train_metrics)["loss"].backward()
            optimizer.step()
        assert (table != before).any(1).tolist() == expected


def test_adam_of_tables_is_torch_s_on_their_whole_gradient() -> None:
    model, data = make(sparse_optimizer=lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1)), batch()
    copy = deepcopy(model)
    model.step(data, model.train_metrics)["loss"].backward()
    copy.step(data, copy.train_metrics)["loss"].backward()
    model.configure_optimizers().step()
    assert copy.tables is not None
    torch.optim.Adam(copy.tables.parameters(), lr=0.1, weight_decay=0.1).step()
    assert model.tables is not None
    for ours, theirs in zip(model.tables.parameters(), copy.tables.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("make_optimizer", "why"),
    [
        (torch.optim.Adam, r"Adam, which moves all rows of a table at each step"),
        (torch.optim.SparseAdam, r"SparseAdam, which keeps two averages"),
    ],
)
def test_optimizers_that_cannot_be_in_the_backward_pass_are_refused_there(make_optimizer: Any, why: str) -> None:
    model = ClickPredictor(**TINY, sparse_optimizer=make_optimizer)
    model.data_spec = SPEC
    with torch.device("meta"), pytest.raises(InputError, match=rf"{why}.*With TorchRecStrategy use"):
        model.configure_model()


def test_plateau_cuts_the_rates_of_tables_and_of_everything_else() -> None:
    plateau: Any = lambda o: ReduceLROnPlateau(o, monitor="val/auc", mode="max", factor=0.1, patience=0)  # noqa: E731
    model = make(sparse_optimizer=lambda p: torch.optim.SGD(p, lr=0.5), scheduler=plateau)
    model.trainer = Trainer(accelerator="cpu", logger=False)
    found = model.configure_optimizers()
    assert found["lr_scheduler"]["monitor"] == "val/auc"
    assert found["lr_scheduler"]["interval"] == "epoch"
    for value in (0.6, 0.7, 0.7):
        model.lr_scheduler_step(found["lr_scheduler"]["scheduler"], value)
    assert [group["lr"] for group in found["optimizer"].param_groups] == pytest.approx([0.05, 0.0001])
    assert [group["lr"] for group in found["optimizer"].sparse.param_groups] == pytest.approx([0.05])


def test_plateau_beside_a_schedule_of_the_tables_is_refused() -> None:
    plateau: Any = lambda o: ReduceLROnPlateau(o, monitor="val/auc")  # noqa: E731
    for scheduler in (plateau, None):
        model = make(scheduler=scheduler, sparse_scheduler=plateau)
        model.trainer = Trainer(accelerator="cpu", logger=False)
        with pytest.raises(InputError, match=r"give it as model\.scheduler, and leave model\.sparse_scheduler out"):
            model.configure_optimizers()


def test_model_needs_no_dense_features() -> None:
    torch.manual_seed(0)
    model = ClickPredictor(0, 2, architecture=DLRMArchitecture(**SIZES, interaction="concatenation"))
    model.data_spec = replace(SPEC, dense_features=())
    model.check_data(model.data_spec)
    model.configure_model()
    data = batch() | {"dense": torch.zeros(4, 0)}
    assert model(data["dense"], data["sparse"]).shape == (4,)


def test_table_summary_counts_the_parameters_of_each_table_and_of_the_rest() -> None:
    summary = make().table_summary()
    lines = {line.split()[0]: line.split() for line in summary.splitlines()[1:3]}
    assert lines["b"][1:5] == ["7", "x", "4", "28"]
    assert lines["a"][1:5] == ["5", "x", "4", "20"]
    assert "48" in summary.splitlines()[3].split()
    dense = sum(p.numel() for p in make().network.parameters())
    assert f"{dense:,}" in summary.splitlines()[4].split()
