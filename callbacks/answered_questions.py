"""Show the questions of the validation split that were answered best and worst."""

import heapq
import itertools
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from callbacks.epoch_axis import validation_axis
from callbacks.validation_board import validation_board

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = 34  # characters of a caption's line


class Answered(NamedTuple):
    """A question with what was answered.

    Args:
        loss: of the question.
        order: in which it came, so that no two are equal.
        image: uint8 (H, W, 3).
        question: the text.
        answer: the answer that was given.
        score: what it is worth, in [0, 1].
        annotators: what they answered.
    """

    loss: float
    order: int
    image: np.ndarray
    question: str
    answer: str
    score: float
    annotators: list[str]


class AnsweredQuestions(Callback):
    """Write the questions with the lowest and those with the highest loss to TensorBoard after each validation.

    Those of the first process's share. Needs ``validation_step`` to return ``losses`` float (B,), ``answer`` int64 (B,)
    and ``score`` float (B,); a module with ``vocabulary``; batches with ``image``, ``text`` and ``annotators``; and a
    DataModule with ``to_images``.

    Args:
        count: how many questions to show of each kind.
        columns: how many of them in a row.
    """

    def __init__(self, count: int = 8, columns: int = 4) -> None:
        self.count = count
        self.columns = columns
        self._order = itertools.count()
        self._best: list[Answered] = []
        self._worst: list[Answered] = []

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if validation_board(trainer) is None:
            return
        by_loss = outputs["losses"].argsort().tolist()
        shown = dict.fromkeys([*by_loss[: self.count], *by_loss[-self.count :]])
        images = trainer.datamodule.to_images(batch["image"][[*shown]]).cpu()  # type: ignore[attr-defined]
        vocabulary: Any = pl_module.vocabulary
        found = [
            Answered(
                outputs["losses"][i].item(),
                next(self._order),
                image.permute(1, 2, 0).numpy(),
                batch["text"][i],
                vocabulary[outputs["answer"][i]],
                outputs["score"][i].item(),
                batch["annotators"][i],
            )
            for i, image in zip(shown, images, strict=True)
        ]
        self._best = heapq.nsmallest(self.count, [*self._best, *found], key=lambda one: one[:2])
        self._worst = heapq.nlargest(self.count, [*self._worst, *found], key=lambda one: one[:2])

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        board = validation_board(trainer)
        if self._best and board is not None:
            for name, questions in (("best", self._best), ("worst", self._worst)):
                figure = draw_questions(questions, self.columns)
                board.add_figure(f"val/{name}_answers", figure, validation_axis(trainer))
        self._best, self._worst = [], []


def draw_questions(questions: list[Answered], columns: int) -> "Figure":
    """Draw questions in rows: question and annotators' answers above the image, the answer given below it.

    That is green if it is worth something, red if not.
    """
    from matplotlib.figure import Figure

    rows = -(-len(questions) // columns)
    figure = Figure((2.8 * columns, 3.6 * rows), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if place >= len(questions):
            axes.set_axis_off()
            continue
        one = questions[place]
        counts = Counter(one.annotators).most_common()
        given = ", ".join(f"{answer} ({count})" if count > 1 else answer for answer, count in counts)
        axes.imshow(one.image)
        axes.set(xticks=[], yticks=[])
        # Prices would be read as formulas otherwise.
        axes.set_title(f"{_lines(one.question, 3)}\n{_lines(given, 2)}", fontsize=8, parse_math=False)
        below = f"{_lines(one.answer, 1)} (worth {one.score:.1f})"
        axes.set_xlabel(below, fontsize=8, color="green" if one.score else "red", parse_math=False)
    return figure


def _lines(text: str, most: int) -> str:
    return "\n".join(textwrap.wrap(text, LINE, max_lines=most, placeholder=" ..."))
