"""The images of the best and worst answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.images.answered_questions import Answered, AnsweredQuestions, draw_questions
from tests.callbacks.small_run import Plain, loader, trainer


def question(text: str, answer: str, *annotators: str) -> Answered:
    return Answered(0.5, 0, np.zeros((8, 8, 3), np.uint8), text, answer, 0.6, [*annotators])


@pytest.mark.parametrize("sign", ["$20", "p@$$w0rd", "!@#$%^&*()", "$50_a_b$", "pa$$_", "\\frac{", "%s {0}"])
def test_prices_and_signs_are_drawn_as_they_are(sign: str) -> None:
    """Matplotlib would read what is between dollars as a formula, and fail at most."""
    figure = draw_questions([question(f"What is {sign}?", sign, sign, sign, f"50% off {sign}")], 2)
    FigureCanvasAgg(figure).draw()
    shown, empty = figure.axes
    assert shown.get_title().replace("\n", " ") == f"What is {sign}? {sign} (2), 50% off {sign}"
    assert shown.get_xlabel() == f"{sign} (score 0.6)"
    assert not empty.axison


class Answers(Plain):
    """Its losses of a batch are those that the batch says, less in each epoch."""

    def answer_vocabulary(self) -> list[str]:
        return ["yes", "no"]

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        losses = batch["losses"] / 10**self.current_epoch
        return {"losses": losses, "answer": torch.ones(len(losses), dtype=torch.int64), "score": losses * 0}


class Questions(LightningDataModule):
    """Two batches of three questions, each with the gray of its number as image."""

    LOSSES = (4.0, 1.0, 6.0, 3.0, 5.0, 2.0)

    def to_images(self, image: Tensor) -> Tensor:
        return image.byte()

    @override
    def train_dataloader(self) -> DataLoader:
        return loader()

    @override
    def val_dataloader(self) -> DataLoader:
        batches = [
            {
                "image": torch.tensor(places)[:, None, None, None].expand(-1, 3, 4, 4),
                "losses": torch.tensor([self.LOSSES[place] for place in places]),
                "text": [f"What is {place}?" for place in places],
                "annotators": [[f"a{place}"] for place in places],
            }
            for places in ([0, 1, 2], [3, 4, 5])
        ]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def test_best_and_worst_are_those_of_all_batches_of_one_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[Answered]] = []

    def draw(questions: list[Answered], columns: int) -> Any:
        drawn.append(questions)
        return draw_questions(questions, columns)

    monkeypatch.setattr("callbacks.images.answered_questions.draw_questions", draw)
    run = trainer(tmp_path, AnsweredQuestions(count=2), max_epochs=2, limit_val_batches=2)
    run.fit(Answers(), datamodule=Questions())
    best, worst = [1, 5], [2, 4]  # by their losses
    assert [[one.question for one in questions] for questions in drawn] == [
        [f"What is {place}?" for place in places] for places in (best, worst, best, worst)
    ]
    for number, questions in enumerate(drawn):
        for one in questions:
            place = one.image[0, 0, 0]
            assert one.loss == pytest.approx(Questions.LOSSES[place] / 10 ** (number // 2))
            assert (one.question, one.annotators, one.answer) == (f"What is {place}?", [f"a{place}"], "no")
