"""The synthetic clicks come from the probabilities that are written beside them, in Criteo's format."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.criteo import VALUES
from datamodules.synthetic import criteo as synthetic_set
from tests.filesystem import listing, snapshot

ROWS = 20_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / synthetic_set.FOLDER
    synthetic_set.make(root, rows=ROWS)
    return root


@pytest.fixture(scope="module")
def lines(root: Path) -> NDArray[np.str_]:
    """The columns of all rows."""
    return np.array([line.split("\t") for line in (root / synthetic_set.FILE).read_text().splitlines()])


def area(probabilities: NDArray[np.float64], clicks: NDArray[np.bool_]) -> float:
    """The share of pairs of a click and another row in which the click has the higher chance."""
    better = (probabilities[clicks][:, None] > probabilities[~clicks]).mean()
    return float(better + (probabilities[clicks][:, None] == probabilities[~clicks]).mean() / 2)


def test_file_is_in_criteos_format(lines: NDArray[np.str_]) -> None:
    assert lines.shape == (ROWS, 40)
    assert set(lines[:, 0]) == {"0", "1"}
    for column in range(1, 14):
        assert all(re.fullmatch(r"[0-9]*", value) for value in set(lines[:, column]))
    for column, (name, known) in enumerate(VALUES.items(), 14):
        values = set(lines[:, column])
        assert all(re.fullmatch(r"([0-9a-f]{8})?", value) for value in values)
        assert 2 <= len(values) <= known + 1, f"{name} has more values than the real one"
    missing = (lines == "").mean(0)
    assert (abs(missing[1:14] - synthetic_set.MISSING) < 0.02).all()
    assert (abs(missing[27:] - synthetic_set.MISSING) < 0.02).all()


def test_clicks_come_as_often_as_their_probabilities_say(root: Path, lines: NDArray[np.str_]) -> None:
    probabilities = np.load(root / synthetic_set.PROBABILITIES)
    clicks = lines[:, 0] == "1"
    assert 0.2 < clicks.mean() < 0.3, "the real set has 0.256"
    for group in np.array_split(np.argsort(probabilities), 20):
        error = math.sqrt((probabilities[group] * (1 - probabilities[group])).mean() / len(group))
        assert abs(clicks[group].mean() - probabilities[group].mean()) < 4.5 * error


def test_probabilities_are_those_of_the_model_for_what_stands_in_the_file(root: Path, lines: NDArray[np.str_]) -> None:
    counts = np.array([[-1 if value == "" else int(value) for value in row] for row in lines[:500, 1:14]])
    numbers = [{name: i for i, name in enumerate(names)} for names in synthetic_set.value_names()]
    categories = np.array([[of[value] for of, value in zip(numbers, row, strict=True)] for row in lines[:500, 14:]])
    np.testing.assert_allclose(
        synthetic_set.click_probabilities(counts, categories),
        np.load(root / synthetic_set.PROBABILITIES)[:500],
        rtol=1e-12,
    )


def test_best_auc_is_that_of_the_probabilities(root: Path, lines: NDArray[np.str_]) -> None:
    rows = np.arange(1000, 4000)
    probabilities = np.load(root / synthetic_set.PROBABILITIES)[rows]
    assert synthetic_set.best_auc(root, rows) == pytest.approx(area(probabilities, lines[rows, 0] == "1"), abs=1e-6)
    assert 0.75 < synthetic_set.best_auc(root, np.arange(ROWS)) < 0.9, "not all is chance, and not all can be learnt"


def test_counts_categories_and_pairs_all_matter(root: Path, lines: NDArray[np.str_]) -> None:
    probabilities = np.load(root / synthetic_set.PROBABILITIES)
    log_odds = np.log(probabilities / (1 - probabilities))
    dummies = [np.log1p(np.where(column == "", "0", column).astype(float))[:, None] for column in lines[:, 1:14].T]
    dummies += [column[:, None] == np.unique(column) for column in lines[:, 14:].T]
    for left_out in (range(13), range(13, 39)):
        design = np.hstack([part for i, part in enumerate(dummies) if i not in left_out]).astype(float)
        fitted = design @ np.linalg.lstsq(design, log_odds, rcond=None)[0]
        assert np.std(log_odds - fitted) > 0.5
    whole = np.hstack(dummies).astype(float)
    rest = np.std(log_odds - whole @ np.linalg.lstsq(whole, log_odds, rcond=None)[0])
    assert 0.1 < rest < 0.5, "what the pair adds"


def test_set_is_the_same_each_time_and_made_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthetic_set.make(tmp_path / name, rows=30)
    assert (tmp_path / "a" / "train.txt").read_bytes() == (tmp_path / "b" / "train.txt").read_bytes()
    before = snapshot(tmp_path / "a")
    synthetic_set.make(tmp_path / "a", rows=40)
    assert snapshot(tmp_path / "a") == before
    synthetic_set.make(tmp_path / "c", rows=30, seed=1)
    assert (tmp_path / "a" / "train.txt").read_bytes() != (tmp_path / "c" / "train.txt").read_bytes()


def test_nothing_is_kept_if_making_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        synthetic_set.make(tmp_path / "data", rows=20)
    assert listing(tmp_path) == []
