"""The drawings and the table of a validation of segmentation."""

import numpy as np

from callbacks.images.segmentation_report import draw_confusion, draw_images, overlap_table

NAMES = ["background", "person", "dog", "sheep"]


def test_report_shows_images_of_different_sizes_with_truth_and_prediction() -> None:
    gray = [
        (np.full((h, w, 3), 120, np.uint8), np.zeros((h, w), np.uint8), np.ones((h, w), np.uint8))
        for h, w in ((30, 60), (70, 20))
    ]
    sheet = draw_images(gray, NAMES).astype(int)
    first = sheet[60:150]
    middle = [first[80, column] for column in (160, 324 + 160, 648 + 160)]
    assert middle[0].tolist() == middle[1].tolist() == [120, 120, 120]
    assert middle[2][0] > middle[2][1] + 30  # the prediction is a person


def test_table_has_overlap_and_the_most_frequent_mistake() -> None:
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    lines = overlap_table(confusion, NAMES[:3]).splitlines()
    assert lines[2] == "| background | 0.6667 | 8 | 7 | person (25.0%) |"
    assert lines[3] == "| person | 0.5000 | 4 | 5 | background (25.0%) |"
    assert lines[4] == "| dog |  | 0 | 0 |  |"


def test_confusion_is_drawn_in_percent_of_the_true_pixels() -> None:
    figure = draw_confusion(np.array([[75, 25], [0, 10]]), NAMES[:2])
    (axes,) = figure.axes
    texts = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert texts == {((0, 0), "75"), ((1, 0), "25"), ((1, 1), "100")}
