"""The figures of an epoch can be read at a glance."""

from sextant.samplers.summary import Summary


def test_figures_are_printed_in_one_sentence_with_fractions_as_percentages() -> None:
    summary = Summary(
        batches=1234, examples=56_789, padding=0.0312, fill=0.9876, smallest=2, largest=60, shortest=0.5, longest=17.25,
        too_long=3, left_out=1,
    )  # fmt: skip
    assert str(summary) == (
        "1,234 batches of 2 to 60 examples, 56,789 in all, 0.5 to 17.25 long; 3.1 % padding, budget filled to 98.8 %; "
        "3 longer than the budget, 1 left out"
    )
