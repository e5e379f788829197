"""One image with a question, or a file of many, can be asked about."""

from pathlib import Path

import pytest

from datamodules.vqa.prediction import Prediction
from sextant.errors import InputError


@pytest.mark.parametrize(
    "settings",
    [{"image": "a.png"}, {"question": "What?"}, {"image": "a.png", "question": "What?", "questions": "a.csv"}],
)
def test_image_without_a_question_and_both_ways_at_once_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"either --data\.prediction\.image and --data\.prediction\.question, or "):
        Prediction(**settings)


def test_questions_are_those_that_were_given(tmp_path: Path) -> None:
    assert Prediction().read() is None
    alone = Prediction(image="a.png", question="What?").read()
    assert alone is not None
    assert (alone.questions, alone.images[0]) == (["What?"], Path("a.png"))
    (tmp_path / "ask.csv").write_text("image,question\nb.png,Where?\nc.png,Who?\n")
    many = Prediction(questions=str(tmp_path / "ask.csv")).read()
    assert many is not None
    assert many.questions == ["Where?", "Who?"]
    assert many.images[1] == tmp_path / "c.png"
