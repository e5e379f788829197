"""The images of the best and worst answers."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from callbacks.images.answered_questions import Answered, draw_questions


def question(text: str, answer: str, *annotators: str) -> Answered:
    return Answered(0.5, 0, np.zeros((8, 8, 3), np.uint8), text, answer, 0.6, [*annotators])


@pytest.mark.parametrize("sign", ["$20", "p@$$w0rd", "!@#$%^&*()", "$50_a_b$", "pa$$_", "\\frac{", "%s {0}"])
def test_prices_and_signs_are_drawn_as_they_are(sign: str) -> None:
    """Matplotlib would read what is between dollars as a formula, and fail at most."""
    figure = draw_questions([question(f"What is {sign}?", sign, sign, sign, f"50% off {sign}")], 2)
    FigureCanvasAgg(figure).draw()
    shown, empty = figure.axes
    assert shown.get_title() == f"What is {sign}?\n{sign} (2), 50% off {sign}"
    assert shown.get_xlabel() == f"{sign} (score 0.6)"
    assert not empty.axison
