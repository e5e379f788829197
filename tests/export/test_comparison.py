"""What is counted when a file is run beside its network."""

import math

import pytest
import torch
from torch import Tensor, nn

from export.comparison import compare
from modules.export_graph import BATCH, ArgMax, ExportGraph, GraphInput
from tests.export.graphs import classifier
from trainer.errors import InputError


class Scores(nn.Module):
    """Gives its input (B, T, K), and how many of the T count for each sample, (B,)."""

    def forward(self, scores: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return scores, lengths


def graph() -> ExportGraph:
    return ExportGraph(
        network=Scores(),
        inputs=(GraphInput("scores", (BATCH, 5, 3)), GraphInput("lengths", (BATCH,), torch.int64)),
        outputs=("scores", "lengths"),
        read=lambda batch: (batch["scores"], batch["lengths"]),
        decide=ArgMax(2),
        valid=lambda outputs: torch.arange(outputs[0].shape[1]) < outputs[1][:, None],
    )


def inputs() -> list[tuple[Tensor, ...]]:
    torch.manual_seed(0)
    scores = torch.stack([torch.randperm(3) for _ in range(15)]).float().reshape(3, 5, 3)
    return [(scores[:2], torch.tensor([2, 5])), (scores[2:], torch.tensor([3]))]


def changing(sample: int, place: int) -> object:
    """A file that decides otherwise in one place of one sample of each batch that has it."""

    def run(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        scores = given[0].clone()
        if sample < len(scores):
            scores[sample, place] = scores[sample, place].roll(1)
        return scores, given[1]

    return run


@pytest.mark.parametrize(("sample", "place", "equal"), [(0, 2, 9), (0, 1, 8), (1, 4, 9), (1, 0, 9)])
def test_agreement_counts_decisions_that_count(sample: int, place: int, equal: int) -> None:
    """Of 2 + 5 + 3 places. Place 2 of the first samples is padding once and data once."""
    found = compare(graph(), changing(sample, place), inputs(), progress=False)  # type: ignore[arg-type]
    assert (found.samples, found.decisions) == (3, 10)
    assert found.agreement == pytest.approx(equal / 10)
    assert found.largest_difference in (1, 2)


def test_largest_difference_is_that_of_all_batches() -> None:
    plain = classifier()
    pictures = [(torch.randn(2, 3, 8, 8),) for _ in range(3)]

    def run(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        scores = plain.network(*given)
        scores[-1, 0] += 0.25 if given[0] is pictures[1][0] else 1e-3
        return (scores,)

    found = compare(plain, run, pictures, progress=False)
    assert found.largest_difference == pytest.approx(0.25, abs=1e-5)
    assert found.samples == found.decisions == 6
    assert found.eager_milliseconds > 0
    assert found.exported_milliseconds > 0


def test_a_file_that_gives_no_numbers_is_not_taken_for_an_equal_one() -> None:
    plain = classifier()
    with pytest.raises(InputError, match="The exported file gives NaN"):
        compare(plain, lambda given: (plain.network(*given) * math.nan,), [(torch.randn(8, 3, 8, 8),)], progress=False)


def test_equal_files_agree_in_all() -> None:
    plain = classifier()
    found = compare(plain, lambda given: (plain.network(*given),), [(torch.randn(2, 3, 8, 8),)], progress=False)
    assert (found.agreement, found.largest_difference) == (1.0, 0.0)
