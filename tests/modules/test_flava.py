"""The answerer's losses, metrics and answers, and its commands."""

import csv
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim import AdamW
from transformers import FlavaModel

from modules.flava import VisualQuestionAnswerer, best_answers
from modules.networks.flava import FlavaArchitecture
from sextant.data_spec import DataSpec
from sextant.errors import InputError

TINY = FlavaArchitecture(
    image_size=16,
    patch_size=8,
    text_vocab_size=30,
    max_question_length=12,
    dim=16,
    feedforward_dim=24,
    num_heads=2,
    image_layers=1,
    text_layers=1,
    multimodal_layers=1,
)


def answerer(**settings: Any) -> VisualQuestionAnswerer:
    torch.manual_seed(0)
    return VisualQuestionAnswerer(vocab_size=6, hidden_dim=8, **{"architecture": TINY} | settings).eval()


def batch(size: int = 4) -> dict[str, Any]:
    """Questions of which the annotators answered the first with 1 and 2, the second with 3, the others with none."""
    generator = torch.Generator().manual_seed(1)
    answers, scores = torch.zeros(size, 2, dtype=torch.int64), torch.zeros(size, 2)
    answers[0], scores[0] = torch.tensor([1, 2]), torch.tensor([0.9, 0.6])
    answers[1, 0], scores[1, 0] = 3, 1.0
    label = torch.zeros(size, dtype=torch.int64)
    label[:2] = torch.tensor([1, 3])
    lengths = torch.full((size,), 5)
    return {
        "image": torch.randn(size, 3, 16, 16, generator=generator),
        "question": (torch.randint(1, 30, (size, 5), generator=generator), lengths),
        "label": label,
        "answers": (answers, lengths),
        "scores": (scores, lengths),
        "text": [f"question {i}" for i in range(size)],
        "index": torch.arange(size),
    }


def test_cross_entropy_is_that_of_the_most_frequent_answer() -> None:
    model, examples = answerer(), batch()
    losses = model.step(examples, model.val_metrics)["losses"]
    logits = model(examples["image"], *examples["question"])
    torch.testing.assert_close(losses, -logits.log_softmax(1)[torch.arange(4), torch.tensor([1, 3, 0, 0])])


def test_binary_cross_entropy_is_that_of_the_scores_of_all_answers() -> None:
    model, examples = answerer(loss="binary_cross_entropy"), batch()
    losses = model.step(examples, model.val_metrics)["losses"]
    logits = model(examples["image"], *examples["question"])
    targets = torch.zeros(4, 6)
    targets[0, 1], targets[0, 2], targets[1, 3] = 0.9, 0.6, 1.0
    probabilities = logits.sigmoid()
    expected = -(targets * probabilities.log() + (1 - targets) * (1 - probabilities).log()).sum(1)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "accuracy", "vqa_accuracy"), [(1, 0.25, 0.9 / 4), (2, 0.0, 0.6 / 4), (3, 0.25, 1 / 4), (4, 0.0, 0.0)]
)
def test_metrics_count_the_answers_given(given: int, accuracy: float, vqa_accuracy: float) -> None:
    model, examples = answerer(), batch()
    scoring: Any = model.network.head[3]
    with torch.no_grad():  # always the same answer, however likely "another one" (id 0) is
        scoring.weight.zero_()
        scoring.bias.copy_(torch.eye(6)[given] + 5 * torch.eye(6)[0])
    model.step(examples, model.val_metrics)
    metrics = model.val_metrics.compute()
    assert metrics["val/accuracy"] == pytest.approx(accuracy)
    assert metrics["val/vqa_accuracy"] == pytest.approx(vqa_accuracy)
    assert metrics["val/vqa_ceiling"] == pytest.approx((0.9 + 1.0) / 4)
    assert metrics["val/loss"] > 0


def test_metrics_are_means_over_questions_whatever_the_batches() -> None:
    model = answerer()
    whole = batch(7)
    model.step(whole, model.val_metrics)
    at_once = model.val_metrics.compute()
    model.val_metrics.reset()
    for part in (slice(0, 5), slice(5, 7)):
        cut = {
            key: tuple(x[part] for x in value) if isinstance(value, tuple) else value[part]
            for key, value in whole.items()
        }
        model.step(cut, model.val_metrics)
    for name, value in model.val_metrics.compute().items():
        assert value.item() == pytest.approx(at_once[name].item(), rel=1e-6), name


def test_best_answers_leave_id_0_out() -> None:
    logits = torch.tensor([[9.0, 1.0, 3.0, 2.0]])
    assert best_answers(logits, 2).tolist() == [[2, 3]]
    assert best_answers(logits, 5).tolist() == [[2, 3, 1]]


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_prediction_gives_the_five_best_answers_with_their_probabilities(loss: Any) -> None:
    model, examples = answerer(loss=loss), batch()
    model.data_spec = DataSpec(labels=("<unk>", *"abcde"))
    rows = model.predict_step(examples, 0)
    logits = model(examples["image"], *examples["question"])
    probabilities = logits.softmax(1) if loss == "cross_entropy" else logits.sigmoid()
    for row, text, expected in zip(rows, examples["text"], probabilities, strict=True):
        assert row["question"] == text
        assert [one["answer"] for one in row["top5"]] == ["abcde"[i] for i in expected[1:].argsort(descending=True)]
        assert row["answer"] == row["top5"][0]["answer"]
        assert row["probability"] == pytest.approx(expected[1:].max().item(), abs=1e-4)


def test_head_and_backbone_have_rates_of_their_own() -> None:
    optimizer = partial(AdamW, lr=0.2, weight_decay=0.3)
    model = answerer(backbone_lr_factor=0.1, decay_norm_and_bias=False, optimizer=optimizer)
    groups = model.configure_optimizers().param_groups
    of = {id(weight): group for group in groups for weight in group["params"]}
    for name, weight in model.network.named_parameters():
        if weight.requires_grad:
            assert of[id(weight)]["lr"] == pytest.approx(0.2 if name.startswith("head.") else 0.02), name
            assert of[id(weight)]["weight_decay"] == (0.3 if weight.ndim > 1 else 0.0), name
    assert len(of) == sum(weight.requires_grad for weight in model.network.parameters())


def test_frozen_encoders_leave_the_head_to_learn() -> None:
    model = answerer(frozen=["text", "image", "multimodal"])
    groups = model.configure_optimizers().param_groups
    assert {id(w) for group in groups for w in group["params"]} == {id(w) for w in model.network.head.parameters()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_true_precisions_other_than_single_work(dtype: torch.dtype) -> None:
    """Lightning changes the weights and the batch's numbers; images are made float32 after that."""
    model, examples = answerer().to(dtype), batch()
    examples["scores"] = (examples["scores"][0].to(dtype), examples["scores"][1])
    found = model.step(examples, model.val_metrics)
    assert found["losses"].isfinite().all()
    assert all(min(abs(value - worth) for worth in (0.0, 0.6, 0.9, 1.0)) < 0.01 for value in found["score"].tolist())


def test_layers_that_are_computed_anew_give_the_same_gradients() -> None:
    plain, again = answerer(head_dropout=0.0).train(), answerer(head_dropout=0.0, gradient_checkpointing=True).train()
    for model in (plain, again):
        model.step(batch(), model.train_metrics)["loss"].backward()
    assert again.network.flava.image_model.encoder.gradient_checkpointing
    for (name, a), b in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, msg=name)


@pytest.mark.slow
def test_compiled_network_gives_the_same_answers_and_keeps_the_names_of_its_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = answerer(compiled=True)
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:  # the default one needs a C++ compiler; what is compiled is the same
        graphs.append(graph)
        return graph.forward

    compiled.network.compile(backend=backend)
    plain, examples = answerer(), batch()
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(examples["image"], *examples["question"]), plain(examples["image"], *examples["question"])
        )
    assert graphs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 1}, "model.vocab_size is 1"),
        ({"hidden_dim": 0}, "model.hidden_dim is 0"),
        ({"head_dropout": 1.0}, "model.head_dropout is 1.0"),
        ({"backbone_lr_factor": -1.0}, "model.backbone_lr_factor is -1.0"),
        ({"weights": "facebook/flava-full"}, "either model.weights"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VisualQuestionAnswerer(**{"architecture": TINY} | settings)


@pytest.fixture(scope="module")
def words(small: Callable[[str], list[str]]) -> list[str]:
    return [
        *(*small("flava_textvqa"), "--data.num_workers=0"),
        *("--trainer.max_epochs=2", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    ]


def test_run_logs_its_metrics_with_the_ceiling_and_shows_the_best_and_worst_answers(trained: Path) -> None:
    events = EventAccumulator(str(trained), {"images": 0}).Reload()
    for split in ("train", "val"):
        points = {
            name: [p.value for p in events.Scalars(f"{split}/{name}")] for name in ("vqa_accuracy", "vqa_ceiling")
        }
        assert points["vqa_ceiling"] == [1.0, 1.0]
        assert all(0 < value < 1 for value in points["vqa_accuracy"])
    assert {"val/best_answers", "val/worst_answers"} <= set(events.Tags()["images"])
    assert len(events.Images("val/best_answers")) == 2


def test_test_split_is_measured_and_answered(trained: Path, run: Any, tmp_path: Path) -> None:
    metrics = run("test", "--ckpt_path=best").trainer.callback_metrics
    assert metrics["test/vqa_ceiling"] == 1
    output = tmp_path / "answers.csv"
    run("predict", "--ckpt_path=best", f"--predictions.output={output}")
    rows = list(csv.DictReader(output.open()))
    assert len(rows) == 13
    assert all(f"(test), row {i}" in row["file"] for i, row in enumerate(rows))
    for row in rows:
        top = json.loads(row["top5"])
        assert [one["probability"] for one in top] == sorted((one["probability"] for one in top), reverse=True)
        assert row["answer"] == top[0]["answer"] != "<unk>"


def test_one_question_is_answered_without_a_data_set(
    trained: Path, run: Any, text_vqa: Path, tiny_imagenet: Path, tmp_path: Path
) -> None:
    image, output = next((tiny_imagenet / "test" / "images").iterdir()), tmp_path / "answer.jsonl"
    asked = [f"--data.prediction.image={image}", "--data.prediction.question=What color is it?", "--data.dataset=null"]
    run("predict", "--ckpt_path=best", *asked, f"--predictions.output={output}")
    row = json.loads(output.read_text())
    assert row["file"] == str(image)
    assert row["question"] == "What color is it?"
    assert len(row["top5"]) == 5


def test_weights_of_a_saved_folder_are_where_training_begins(
    words: list[str], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = FlavaArchitecture(16, 8, 38, 16, 16, 16, 2, 1, 1, 1)
    saved = FlavaModel(architecture.configuration())
    saved.save_pretrained(tmp_path / "flava")
    monkeypatch.chdir(tmp_path)
    cli = run(
        *("fit", "--model.architecture=null", f"--model.weights={tmp_path / 'flava'}", "--trainer.max_epochs=1"),
        *("--model.frozen=[text,image,multimodal]", "--trainer.limit_train_batches=2"),
    )
    for name, weight in saved.state_dict().items():
        assert torch.equal(cli.model.network.flava.state_dict()[name], weight), name


@pytest.mark.parametrize(
    ("words_", "message"),
    [
        (["--data.preprocessing.image_size=24"], r"image_size has 24.*made for 16.*--data.preprocessing.image_size=16"),
        (["--data.preprocessing.max_question_length=40"], r"preprocessing.max_question_length has 40.*made for 16"),
        (["--model.architecture.text_vocab_size=20"], r"preprocessing.tokenizer has 38.*made for 20"),
        (["--model.vocab_size=9"], r"model.vocab_size is 9.*data has 14 labels.*--model.vocab_size=14"),
    ],
)
def test_data_that_the_model_is_not_made_for_is_refused(run: Any, words_: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("fit", *words_)


@pytest.mark.parametrize("size", [1, 8, 15, 17, 32])
def test_images_of_any_other_size_than_the_model_s_are_refused(size: int) -> None:
    """Smaller ones too: each patch has a position of its own."""
    with pytest.raises(InputError, match=rf"image_size has {size}, .*made for 16.*--data.preprocessing.image_size=16"):
        answerer().check_data(DataSpec(labels=("<unk>", *"abcde"), input_sizes={"image_size": size}))


def test_data_within_the_sizes_of_the_model_is_accepted() -> None:
    """Shorter questions of fewer tokens do not matter, nor do sizes that the data does not say."""
    sizes = {"image_size": 16, "max_question_length": 12, "tokenizer": 30}
    for smaller in ({}, sizes, sizes | {"max_question_length": 5}, sizes | {"tokenizer": 20}):
        answerer().check_data(DataSpec(labels=("<unk>", *"abcde"), input_sizes=smaller))


def test_checkpoint_with_other_answers_is_refused(trained: Path, run: Any, tmp_path: Path) -> None:
    """As many answers, but one of them another."""
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    file = tmp_path / "answers.txt"
    file.write_text("\n".join([*checkpoint["data_spec"]["labels"][:-1], "something else"]))
    with pytest.raises(InputError, match=r"other data: its labels have .* where the data has 'something else'"):
        run("validate", f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}", f"--data.preprocessing.answers={file}")


def test_untrained_loss_is_that_of_guessing_among_the_answers_of_textvqa() -> None:
    """The tutorial has 8.29, 8.36 and 8.27 in its first steps of two questions; the mean of more is ln(3997) = 8.29."""
    torch.manual_seed(0)
    model = VisualQuestionAnswerer(architecture=TINY).train()
    examples = batch(32) | {"label": torch.arange(32) * 124}
    loss = model.step(examples, model.train_metrics)["loss"]
    assert loss.item() == pytest.approx(math.log(3997), abs=0.1)


def test_soft_targets_of_two_annotators_answers_pull_both_up() -> None:
    model = answerer(loss="binary_cross_entropy", head_dropout=0.0).train()
    optimizer = AdamW(model.network.parameters(), lr=0.01)
    examples = batch()
    for _ in range(60):
        optimizer.zero_grad()
        model.step(examples, model.train_metrics)["loss"].backward()
        optimizer.step()
    probabilities = model(examples["image"], *examples["question"]).sigmoid()
    assert probabilities[0].topk(2).indices.tolist() == [1, 2]
    assert F.l1_loss(probabilities[0, 1:3], torch.tensor([0.9, 0.6])) < 0.1
