"""What is counted when a file is run beside its network."""

import math

import pytest
import torch
from torch import Tensor, nn

from sextant.errors import InputError
from sextant.export.comparison import Comparison, compare, largest_difference, require_agreement
from sextant.export.graph import BATCH, ArgMax, ExportGraph, GraphInput
from tests.sextant.export.graphs import classifier


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
    images = [(torch.randn(2, 3, 8, 8),) for _ in range(3)]

    def run(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        scores = plain.network(*given)
        scores[-1, 0] += 0.25 if given[0] is images[1][0] else 1e-3
        return (scores,)

    found = compare(plain, run, images, progress=False)
    assert found.largest_difference == pytest.approx(0.25, abs=1e-5)
    assert found.samples == found.decisions == 6


def test_times_are_the_medians_of_runs_of_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            clock.now += 0.003 * len(x)
            return x

    def run(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        clock.now += 0.002 * len(given[0]) if len(runs) % 20 else 5.0  # now and then it takes long
        runs.append(1)
        return given

    clock, runs = Clock(), list[int]()
    monkeypatch.setattr("sextant.export.comparison.time", clock)
    graph = ExportGraph(Slow(), (GraphInput("x", (BATCH, 5)),), ("y",), lambda batch: (batch["x"],), ArgMax(1))
    found = compare(graph, run, [(torch.randn(4, 5),)], progress=False)
    assert found.eager_milliseconds == pytest.approx(3)
    assert found.exported_milliseconds == pytest.approx(2)


@pytest.mark.parametrize(("whose", "factors"), [("The exported file", (1.0, math.nan)), ("The model", (math.nan, 1.0))])
def test_no_numbers_are_not_taken_for_equal_ones(whose: str, factors: tuple[float, float]) -> None:
    def times(factor: float) -> ExportGraph:
        scaled = classifier()
        scaled.network.get_submodule("output").weight.mul_(factor)  # type: ignore[operator]
        return scaled

    model, file = map(times, factors)
    with pytest.raises(InputError, match=f"{whose} gives NaN"):
        compare(model, lambda given: (file.network(*given),), [(torch.randn(8, 3, 8, 8),)], progress=False)


def test_equal_infinities_do_not_differ() -> None:
    wanted = torch.tensor([-math.inf, 1.0, 2.0])
    assert largest_difference(wanted, torch.tensor([-math.inf, 1.5, 2.0])) == 0.5
    assert largest_difference(wanted, torch.tensor([0.0, 1.0, 2.0])) == math.inf


def test_file_that_decides_otherwise_is_refused_with_both_fractions() -> None:
    comparison = Comparison(8, 1000, 0.98, 0.5, 1.0, 1.0, 1)
    require_agreement(comparison, 0.98)
    with pytest.raises(InputError, match=r"98\.000% of 1,000 decisions, which is less than 99\.000%.*Do this\."):
        require_agreement(comparison, 0.99, "Do this.")


def test_equal_files_agree_in_all() -> None:
    plain = classifier()
    found = compare(plain, lambda given: (plain.network(*given),), [(torch.randn(2, 3, 8, 8),)], progress=False)
    assert (found.agreement, found.largest_difference) == (1.0, 0.0)
