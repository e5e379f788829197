"""Examples and arguments of which a stream makes no batches, and examples longer than the budget."""

from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from sextant.errors import InputError
from tests.sextant.samplers.stream.word_stream import examples, stream


def test_too_long_example_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match=r"^word 1: 11 long, longer than the budget of 10\. Raise max_batch_length"):
        list(stream([1, 11, 2], 10))


@pytest.mark.parametrize(("choice", "seen"), [("warn", [0, 1, 2, 3]), ("drop", [0, 2])])
def test_too_long_examples_are_kept_alone_or_left_out_with_a_warning(choice: Any, seen: list[int]) -> None:
    made = stream([1, 11, 2, 12], 10, too_long=choice)
    with pytest.warns(
        UserWarning, match=r"2 of 4 examples are longer than the budget of 10: word [13] \(1[12]\), word"
    ):
        batches = list(made)
    assert examples([batches]) == seen
    assert all(len(batch) == 1 for batch in batches if {1, 3} & set(batch))


def test_example_is_too_long_by_its_quadratic_cost() -> None:
    lengths = [1.0, 5.0, 6.0, 2.0]  # costs of 1.2, 10, 13.2 and 2.8
    with pytest.raises(InputError, match=r"^word 2: 6 long, longer than the budget of 10 \(as L \+ L\^2 / 5\)\. Raise"):
        list(stream(lengths, 10, quadratic=5))
    with pytest.warns(UserWarning, match=r"1 of 4 examples are .* of 10 \(as L \+ L\^2 / 5\): word 2 \(6\)\."):
        assert examples([list(stream(lengths, 10, quadratic=5, too_long="drop"))]) == [0, 1, 3]


def test_warning_names_a_few_and_counts_the_others() -> None:
    with pytest.warns(
        UserWarning, match=r"8 of 9 examples are longer .*: (word \d \(11\), ){4}word \d \(11\) and 3 more\."
    ):
        list(stream([11.0] * 8 + [1.0], 10, too_long="drop"))


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_one_of_the_workers_warns(num_workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(message: str, **_: Any) -> None:
        with (tmp_path / "warnings").open("a") as file:
            file.write(f"{message}\n")

    monkeypatch.setattr("warnings.warn", write)  # in the workers too, which are forks
    dropping = stream([1, 2, 11, 3], 10, too_long="drop")
    assert len(list(DataLoader(dropping, batch_size=None, collate_fn=list, num_workers=num_workers))) == 1
    assert (tmp_path / "warnings").read_text().count("1 of 4 examples are longer") == 1


def test_only_the_first_rank_warns(recwarn: pytest.WarningsRecorder) -> None:
    for rank, warnings in ((1, 0), (0, 1)):
        list(stream([1, 2, 11, 3], 10, too_long="drop", rank=rank, world_size=2))
        assert len(recwarn.list) == warnings


def test_too_long_examples_can_be_kept_alone_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    batches = list(stream([1, 11, 2], 10, too_long="alone"))
    assert sorted(map(sorted, batches)) == [[0, 2], [1]]
    assert not recwarn.list


def test_leaving_out_everything_is_an_error() -> None:
    with pytest.raises(InputError, match=r"2 of 2 examples are longer .* Nothing is left; raise max_batch_length"):
        list(stream([11, 12], 10, too_long="drop"))


@pytest.mark.parametrize("wrong", [0.0, -2.0, float("nan"), float("inf")])
def test_length_that_is_none_is_an_error_that_names_the_example(wrong: float) -> None:
    with pytest.raises(InputError, match=r"^word 1: its length is"):
        list(stream([1, wrong, 2], 10))


def test_empty_stream_is_an_error() -> None:
    with pytest.raises(InputError, match="no examples"):
        list(stream([], 10))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_batch_length": 0}, "max_batch_length is 0; it must be above 0"),
        ({"max_batch_length": float("nan")}, "max_batch_length is nan"),
        ({"buffer": 0}, "buffer is 0"),
        ({"max_batch_ex": 0}, "max_batch_ex is 0"),
        ({"quadratic": 0.0}, r"quadratic is 0\.0"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_the_reason(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stream(**dict[str, Any](lengths=[1, 2, 3], max_batch_length=10) | wrong)
