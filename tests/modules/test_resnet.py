"""The classifier's loss, metrics and answers."""

import math

import pytest
import torch
import torch.nn.functional as F

from modules.resnet import ImageClassifier
from sextant.data_spec import DataSpec


@pytest.fixture
def classifier() -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(num_classes=10, label_smoothing=0.2)


def test_loss_of_classes_that_are_all_as_likely_is_that_of_guessing(classifier: ImageClassifier) -> None:
    torch.nn.init.zeros_(classifier.network.get_parameter("fc.weight"))
    torch.nn.init.zeros_(classifier.network.get_parameter("fc.bias"))
    batch = {"image": torch.randn(16, 3, 64, 64), "label": torch.arange(16) % 10}
    for training in (True, False):
        loss = classifier.train(training).step(batch, classifier.val_metrics)["loss"]
        assert loss.item() == pytest.approx(math.log(10), abs=1e-5)


def test_labels_are_smoothed_in_training_only(classifier: ImageClassifier) -> None:
    batch = {"image": torch.randn(4, 3, 64, 64), "label": torch.arange(4)}
    for training, smoothing in ((True, 0.2), (False, 0.0)):
        loss = classifier.train(training).step(batch, classifier.train_metrics)["loss"]
        expected = F.cross_entropy(classifier(batch["image"]), batch["label"], label_smoothing=smoothing)
        assert loss.item() == pytest.approx(expected.item())


def test_metrics_are_means_over_samples_whatever_the_batches(classifier: ImageClassifier) -> None:
    classifier.eval()
    images, labels = torch.randn(11, 3, 64, 64), torch.arange(11) % 10
    for part in (slice(0, 8), slice(8, 11)):
        classifier.step({"image": images[part], "label": labels[part]}, classifier.val_metrics)
    metrics = classifier.val_metrics.compute()
    logits = classifier(images)
    assert metrics["val/loss"].item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert metrics["val/accuracy"].item() == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    top5 = (logits.topk(5).indices == labels[:, None]).any(1).float().mean().item()
    assert metrics["val/top5"].item() == pytest.approx(top5)


def test_loss_that_is_no_number_shows_in_the_metric(classifier: ImageClassifier) -> None:
    classifier.eval()
    for value in (0.0, float("nan")):
        batch = {"image": torch.full((2, 3, 64, 64), value), "label": torch.zeros(2, dtype=torch.int64)}
        classifier.step(batch, classifier.val_metrics)
    assert classifier.val_metrics.compute()["val/loss"].isnan()


def test_mixed_labels_count_as_the_class_with_the_larger_weight(classifier: ImageClassifier) -> None:
    logits = classifier.eval()(image := torch.randn(2, 3, 64, 64))
    guess = logits.argmax(1)
    mixed = 0.6 * F.one_hot(guess, 10) + 0.4 * F.one_hot((guess + 1) % 10, 10)
    classifier.step({"image": image, "label": mixed}, classifier.train_metrics)
    assert classifier.train_metrics.compute()["train/accuracy"] == 1


def test_prediction_names_the_class_and_the_top_five(classifier: ImageClassifier) -> None:
    classifier.eval()
    names = {f"n{k}": f"class {k}, {k}" for k in range(10)}
    classifier.data_spec = DataSpec(labels=tuple(names.values()), label_ids=tuple(names))
    image = torch.randn(3, 3, 64, 64)
    rows = classifier.predict_step({"image": image}, 0)
    probabilities = classifier(image).softmax(1)
    for row, expected in zip(rows, probabilities, strict=True):
        assert row["class_id"] == f"n{expected.argmax().item()}"
        assert row["class_name"] == names[row["class_id"]]
        assert row["probability"] == pytest.approx(expected.max().item(), abs=1e-4)
        assert [part.split()[1] for part in row["top5"].split("; ")] == [f"{k}," for k in expected.topk(5).indices]


def test_channels_last_changes_the_memory_format_and_not_the_answer() -> None:
    torch.manual_seed(0)
    plain = ImageClassifier(num_classes=4).eval()
    torch.manual_seed(0)
    last = ImageClassifier(num_classes=4, channels_last=True).eval()
    assert last.network.state_dict()["conv1.weight"].is_contiguous(memory_format=torch.channels_last)
    image = torch.randn(2, 3, 64, 64)
    assert torch.allclose(plain(image), last(image), atol=1e-4)
