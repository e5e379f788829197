"""What a model must know of its data is compared, merged and kept."""

import pytest

from sextant.data_spec import DataSpec
from sextant.errors import InputError

SPEC = DataSpec(labels=("a", "b"), table_sizes={"x": 3, "y": 4}, dense_features=("n",), input_sizes={"image_size": 8})


def test_state_holds_plain_values_and_gives_the_same_back() -> None:
    state = SPEC.state_dict()
    assert state["labels"] == ["a", "b"]
    assert type(state["table_sizes"]) is dict
    assert DataSpec.from_state_dict(state) == SPEC
    assert DataSpec.from_state_dict({}) == DataSpec()


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        (DataSpec(labels=("a", "c")), "labels have 'c' for 1 where the data has 'b'"),
        (DataSpec(labels=("a",)), r"labels have None for 1 where the data has 'b' \(1 and 2 in all\)"),
        (DataSpec(table_sizes={"x": 3, "y": 5}), "table sizes have 5 for 'y' where the data has 4"),
        (DataSpec(table_sizes={"x": 3}), "table sizes have None for 'y' where the data has 4"),
        (DataSpec(dense_features=("m",)), "dense features have 'm' for 0"),
        (DataSpec(input_sizes={"image_size": 9}), "input sizes have 9 for 'image_size'"),
    ],
)
def test_first_difference_to_other_data_is_named(trained: DataSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPEC.require_same(trained)


def test_what_is_not_known_of_one_of_the_two_is_not_compared_and_taken_from_the_other() -> None:
    known = DataSpec(labels=("a", "b"))
    known.require_same(SPEC)
    SPEC.require_same(known)
    SPEC.require_same(DataSpec())
    assert known.merged(SPEC) == SPEC
    assert DataSpec(labels=("z",)).merged(known).labels == ("z",)


def test_labels_that_are_needed_must_be_known() -> None:
    assert SPEC.require_labels() == ("a", "b")
    with pytest.raises(InputError, match=r"not trained.*--ckpt_path=best"):
        DataSpec().require_labels()


def test_model_has_an_output_for_each_label_that_is_known() -> None:
    SPEC.require_label_count(2, "vocab_size")
    DataSpec().require_label_count(3, "vocab_size")
    with pytest.raises(InputError, match=r"model\.vocab_size is 3, but the data has 2 labels.*--model\.vocab_size=2"):
        SPEC.require_label_count(3, "vocab_size")
