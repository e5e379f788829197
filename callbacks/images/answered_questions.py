"""The validation questions with the lowest and the highest loss, in the log."""

import heapq
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from callbacks.card import DPI, INCHES, POINTS, lines
from callbacks.images.image_data import ImageData
from callbacks.validations import shows_validation, validation_axis
from sextant.contracts import Observer, require
from sextant.lightning_internals import datamodule_of
from sextant.logs.drawing import draw_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = 30  # characters of a caption's line


class Answered(NamedTuple):
    """A question and its answers.

    Args:
        loss: of the question.
        order: its number in the validation, which breaks ties of the loss.
        image: uint8 (H, W, 3).
        question: the text.
        answer: the model's.
        score: of the model's answer, in [0, 1].
        annotators: their answers.
    """

    loss: float
    order: int
    image: np.ndarray
    question: str
    answer: str
    score: float
    annotators: list[str]


@runtime_checkable
class AnswersQuestions(Protocol):
    """A module that answers questions about images from a vocabulary.

    Its ``validation_step`` returns ``losses`` float (B,), ``answer`` int64 (B,) and ``score`` float (B,), of batches
    with ``image``, ``text`` and ``annotators``.
    """

    def answer_vocabulary(self) -> Sequence[str]:
        """The answers, in the order of their ids."""


class AnsweredQuestions(Observer):
    """The questions with the lowest and those with the highest loss in the log after each validation.

    Of several processes, the first one's questions alone.

    Args:
        count: how many questions to show of each kind.
        columns: questions in a row.

    Raises:
        InputError: in ``setup``, if the module is no :class:`AnswersQuestions` or the data no :class:`ImageData`.
    """

    def __init__(self, count: int = 6, columns: int = 2) -> None:
        self.count = count
        self.columns = columns
        self._order = itertools.count()
        self._best: list[Answered] = []
        self._worst: list[Answered] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage in ("fit", "validate"):
            require(pl_module, AnswersQuestions, self)
            require(datamodule_of(trainer), ImageData, self)

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
        if not shows_validation(trainer):
            return
        by_loss = outputs["losses"].argsort().tolist()
        shown = dict.fromkeys([*by_loss[: self.count], *by_loss[-self.count :]])
        images = require(datamodule_of(trainer), ImageData, self).to_images(batch["image"][[*shown]]).cpu()
        vocabulary = require(pl_module, AnswersQuestions, self).answer_vocabulary()
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
        if self._best and shows_validation(trainer):
            for name, questions in (("best", self._best), ("worst", self._worst)):
                figure = draw_questions(questions, self.columns)
                draw_figure(trainer, f"val/{name}_answers", figure, validation_axis(trainer))
        self._best, self._worst = [], []


def draw_questions(questions: list[Answered], columns: int) -> "Figure":
    """Questions in rows: the question and the annotators' answers above the image, the model's answer below it.

    The model's answer is green if its score is above 0, red otherwise.
    """
    from matplotlib.figure import Figure

    rows = -(-len(questions) // columns)
    side = INCHES / columns
    figure = Figure((INCHES, rows * (side + 1.6)), dpi=DPI, layout="constrained")
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
        axes.set_title(f"{lines(one.question, LINE, 3)}\n{lines(given, LINE, 2)}", fontsize=POINTS, parse_math=False)
        below = f"{lines(one.answer, LINE - 12, 1)} (score {one.score:.1f})"
        axes.set_xlabel(below, fontsize=POINTS, color="green" if one.score else "red", parse_math=False)
    return figure
