"""What data says of itself: kept, completed, compared."""

import pytest

from sextant.data_spec import DataSpec
from sextant.errors import InputError

ANIMALS = DataSpec(labels=("cat", "dog"), label_ids=("n1", "n2"), input_sizes={"image_size": 8})
CLICKS = DataSpec(table_sizes={"site": 10, "user": 20}, dense_features=("age",))


@pytest.mark.parametrize("spec", [DataSpec(), ANIMALS, CLICKS])
def test_description_survives_a_checkpoint(spec: DataSpec) -> None:
    state = spec.state_dict()
    assert DataSpec.from_state_dict(state) == spec
    assert DataSpec.from_state_dict(state).input_sizes == spec.input_sizes
    assert {type(value) for value in state.values()} <= {list, dict}


@pytest.mark.parametrize(
    ("here", "trained", "message"),
    [
        (
            DataSpec(labels=("cat", "fox")),
            ANIMALS,
            r"its labels have 'dog' at 1 where the data has 'fox' \(2 and 2",
        ),
        (DataSpec(labels=("cat",)), ANIMALS, r"labels have 'dog' at 1 where the data has None \(2 and 1 in all\)"),
        (DataSpec(label_ids=("n2", "n1")), ANIMALS, r"its label ids have 'n1' at 0 where the data has 'n2'"),
        (
            DataSpec(table_sizes={"site": 10, "user": 21}),
            CLICKS,
            r"its table sizes have 20 for 'user' where the data has 21",
        ),
        (DataSpec(table_sizes={"site": 10}), CLICKS, r"have 20 for 'user' where the data has None"),
        (DataSpec(table_sizes={"user": 20, "site": 10}), CLICKS, r"have 'site' at 0 where the data has 'user'"),
    ],
)
def test_first_difference_from_the_trained_data_is_named(here: DataSpec, trained: DataSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        here.require_same(trained)


def test_what_one_of_two_does_not_say_and_sizes_of_inputs_are_no_difference() -> None:
    DataSpec().require_same(ANIMALS)
    ANIMALS.require_same(DataSpec())
    DataSpec(labels=ANIMALS.labels, input_sizes={"image_size": 9}).require_same(ANIMALS)


def test_description_is_completed_from_the_same_data_only() -> None:
    same = DataSpec(labels=ANIMALS.labels, input_sizes={"image_size": 9}).completed(ANIMALS)
    assert same.label_ids == ("n1", "n2")
    assert same.input_sizes == {"image_size": 9}
    other = DataSpec(labels=("car", "bus"))
    assert other.completed(ANIMALS) == other


def test_model_needs_an_output_for_each_label() -> None:
    ANIMALS.require_label_count(2, "num_classes")
    DataSpec().require_label_count(3, "num_classes")
    message = r"model\.num_classes is 3, but the data has 2 labels \(cat, dog\)\. Run with --model\.num_classes=2"
    with pytest.raises(InputError, match=message):
        ANIMALS.require_label_count(3, "num_classes")
    with pytest.raises(InputError, match=r"3 labels \(a, b, \.\.\.\)\."):
        DataSpec(labels=("a", "b", "c")).require_label_count(2, "num_classes")


def test_labels_that_are_needed_must_be_known() -> None:
    assert ANIMALS.require_labels() == ("cat", "dog")
    with pytest.raises(InputError, match=r"not trained.*--ckpt_path=best"):
        DataSpec().require_labels()
