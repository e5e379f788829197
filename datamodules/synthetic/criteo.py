"""A synthetic set in the format of Criteo's ``train.txt``, whose clicks come from a known logistic model.

The probability of a click is logistic in a sum of terms: one for the value of each category, one for each pair of
values of two of them, and the logarithms of the counts, each with a weight. To predict the clicks is to find these
terms; no model can do better than these probabilities, whose AUC is given by :func:`best_auc`.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc

from datamodules.synthetic.writing import write_set

FOLDER = "synthetic-criteo-clicks"
FILE = "train.txt"
PROBABILITIES = "probabilities.npy"  # of the rows, which the real set does not have
SEED = 1  # of the model itself, which is the same for all rows
COUNTS = 13
CATEGORIES = 26
VALUES = 5  # of a category, besides being missing; a category of which fewer are known to Criteo has fewer
FEW = {8: 2, 19: 3}  # values of C9 and C20
PAIR = (0, 1)  # the categories whose values act together
MISSING = 0.1  # fraction of counts, and of values of the last half of the categories
BIAS = -0.4  # about a quarter of the rows are clicks, as in the real set


def make(destination: Path, rows: int = 100_000, seed: int = 0) -> None:
    """Write the synthetic set unless it is there.

    Args:
        destination: the folder to make.
        rows: how many, for training, validation and tests together.
        seed: seed of the rows.
    """

    def fill(folder: Path) -> Path:
        random = np.random.default_rng(seed)
        counts, categories = draw(rows, random)
        probabilities = click_probabilities(counts, categories)
        clicks = random.random(rows) < probabilities
        columns = [clicks.astype(int).astype(str), *counts.T.astype(str)]
        columns[1:] = [np.where(of_one < 0, "", text) for of_one, text in zip(counts.T, columns[1:], strict=True)]
        columns += [names[of_one] for names, of_one in zip(value_names(), categories.T, strict=True)]
        lines = np.stack(columns, 1)
        (folder / FILE).write_text("".join("\t".join(line) + "\n" for line in lines), encoding="ascii")
        np.save(folder / PROBABILITIES, probabilities)
        return folder

    write_set(destination, fill)


def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw counts (rows, 13), -1 where they are missing, and categories (rows, 26), 0 where they are missing."""
    counts = np.floor(np.exp(random.normal(1.5, 1.2, (rows, COUNTS)))).astype(np.int64)
    counts[random.random(counts.shape) < MISSING] = -1
    categories = np.empty((rows, CATEGORIES), np.int64)
    for i in range(CATEGORIES):
        weights = 1 / np.arange(2, number_of_values(i) + 2)  # some come more often, as in real logs
        categories[:, i] = 1 + random.choice(number_of_values(i), rows, p=weights / weights.sum())
    late = categories[:, CATEGORIES // 2 :]
    late[random.random(late.shape) < MISSING] = 0
    return counts, categories


def number_of_values(category: int) -> int:
    """How many values a category (0 to 25) has besides being missing."""
    return FEW.get(category, VALUES)


def click_probabilities(counts: NDArray[np.int64], categories: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probability of a click for each row, float (rows,).

    Args:
        counts: (rows, 13), -1 where they are missing, which is as good as 0.
        categories: (rows, 26), 0 where they are missing.
    """
    random = np.random.default_rng(SEED)
    weights = random.normal(0, 0.25, COUNTS)
    terms = random.normal(0, 0.35, (CATEGORIES, VALUES + 1))
    pairs = random.normal(0, 0.3, (VALUES + 1, VALUES + 1))
    total = (np.log1p(np.maximum(counts, 0)) - 1.5) @ weights + BIAS
    total += terms[np.arange(CATEGORIES), categories].sum(1)
    total += pairs[categories[:, PAIR[0]], categories[:, PAIR[1]]]
    return 1 / (1 + np.exp(-total))


def value_names() -> list[NDArray[np.str_]]:
    """What stands in the file for each value of each category; nothing for the first, which is missing."""
    random = np.random.default_rng(SEED)
    names = random.choice(2**32, (CATEGORIES, VALUES), replace=False)
    return [np.array(["", *(f"{name:08x}" for name in of_one)]) for of_one in names]


def best_auc(folder: Path, rows: NDArray[np.int64]) -> float:
    """The AUC of the true probabilities on some rows of the synthetic set."""
    probabilities = torch.from_numpy(np.load(folder / PROBABILITIES)[rows])
    lines = (folder / FILE).read_text(encoding="ascii").split("\n")
    clicks = torch.tensor([int(lines[row][0]) for row in rows.tolist()])
    return float(binary_auroc(probabilities, clicks))
