"""The language model's commands, end to end on a small text."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datamodules.text.windows import Evaluation
from datamodules.wikitext2 import WikiText2
from modules.networks.transformer import TransformerArchitecture
from modules.transformer_lm import Generation, WordLanguageModel
from sextant.errors import InputError


@pytest.fixture(scope="module")
def words(small: Callable[[str], list[str]]) -> list[str]:
    """What all commands have in common."""
    return [*small("transformer_wikitext2"), "--trainer.max_epochs=2", "--trainer.log_every_n_steps=2"]


def test_board_has_loss_perplexity_bits_speed_rate_norm_and_text(trained: Path) -> None:
    board = EventAccumulator(str(trained), size_guidance={"tensors": 0}).Reload()
    for split in ("train", "val"):
        losses = board.Scalars(f"{split}/loss")
        assert [point.step for point in losses] == [1, 2]
        for name, of_loss in (("perplexity", math.exp), ("bits_per_word", lambda loss: loss / math.log(2))):
            values = [point.value for point in board.Scalars(f"{split}/{name}")]
            assert values == pytest.approx([of_loss(point.value) for point in losses], rel=1e-5)
    for name in ("train/loss_step", "gradient_norm", "throughput/tokens_per_second"):
        assert [point.step for point in board.Scalars(name)] == [1, 3, 5, 7, 9]
    assert "lr-AdamW/decay" in board.Tags()["scalars"]
    texts = board.Tensors("val/text/text_summary")
    assert [text.step for text in texts] == [1, 2]
    assert b"word" in texts[0].tensor_proto.string_val[0]


def test_validations_within_an_epoch_stand_at_their_steps(run: Any) -> None:
    within = ("--trainer.val_check_interval=2", "--trainer.max_epochs=1", "--trainer.logger.name=within")
    board = EventAccumulator(run("fit", *within).trainer.log_dir, size_guidance={"tensors": 0}).Reload()
    assert [point.step for point in board.Scalars("val/loss")] == [2, 4]
    assert [text.step for text in board.Tensors("val/text/text_summary")] == [2, 4]
    assert [point.step for point in board.Scalars("train/loss")] == [5]  # on the axis of the validations


def test_progress_bar_shows_loss_perplexity_and_tokens_per_second(trained: Path, run: Any) -> None:
    shown = run("fit", "--trainer.fast_dev_run=true", "--trainer.log_every_n_steps=1").trainer.progress_bar_metrics
    assert {"train/loss_step", "val/perplexity", "tokens/s"} <= set(shown)


def test_measured_test_perplexity_is_that_of_every_token_with_its_context(
    trained: Path, run: Any, wikitext2: Path
) -> None:
    """Sliding windows against one token at a time, each given the words that its window has before it."""
    cli = run("test", "--ckpt_path=best", "--data.evaluation.stride=3")
    model = cli.model.eval()
    ids = {word: i for i, word in enumerate(model.data_spec.labels)}
    lines = (wikitext2 / "test.txt").read_text().splitlines()
    tokens = torch.tensor([ids[word] for line in lines for word in [*line.split(), "<eos>"]])
    assert len(tokens) == 50
    nats = 0.0
    with torch.no_grad():
        for i in range(1, 50):
            start = 0 if i <= 8 else 3 * math.ceil((i - 8) / 3)
            assert i <= 8 or 8 - 3 < i - start <= 8  # at least length - stride words of context
            logits = model(tokens[None, start:i])[0, -1].double()
            nats -= logits.log_softmax(0)[tokens[i]].item()
    assert cli.trainer.callback_metrics["test/loss"].item() == pytest.approx(nats / 49, rel=1e-6)
    assert cli.trainer.callback_metrics["test/perplexity"].item() == pytest.approx(math.exp(nats / 49), rel=1e-6)


def predict(run: Any, output: Path, *more: str) -> list[dict[str, str]]:
    written = [f"--predictions.output={output}", "--predictions.overwrite=true"]
    run("predict", "--ckpt_path=best", *written, *more)
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


def test_text_goes_to_the_terminal_a_file_and_the_board(
    trained: Path, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = predict(run, tmp_path / "a.csv", "--data.prompt=word1 word2", "--model.generation.max_new_tokens=30")
    assert row["prompt"] == "word1 word2"
    assert row["text"].split()[:2] == ["word1", "word2"]
    assert row["text"] in capsys.readouterr().out
    board = EventAccumulator(str(trained), size_guidance={"tensors": 0}).Reload()
    shown = board.Tensors("predict/text/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert shown.split() == row["text"].split()


def test_file_of_prompts_gives_a_row_for_each_that_does_not_depend_on_the_others(
    trained: Path, run: Any, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("word1\nword2 word3\n<eos>\n")
    rows = predict(run, tmp_path / "a.csv", f"--data.prompts={prompts}")
    assert [row["file"] for row in rows] == [f"{prompts}:{i}" for i in (1, 2, 3)]
    assert rows[2]["text"].startswith("\n")
    prompts.write_text("word4\nword2 word3\n")
    assert predict(run, tmp_path / "b.csv", f"--data.prompts={prompts}")[1]["text"] == rows[1]["text"]
    other = predict(run, tmp_path / "c.csv", f"--data.prompts={prompts}", "--model.generation.seed=5")
    assert other[1]["text"] != rows[1]["text"]


def test_equal_prompts_are_continued_in_different_ways(trained: Path, run: Any, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("word1\nword1\n")
    first, second = predict(run, tmp_path / "a.csv", f"--data.prompts={prompts}")
    assert first["text"] != second["text"]


def test_as_many_words_are_generated_as_were_asked_for_and_none_is_unknown(
    trained: Path, run: Any, tmp_path: Path
) -> None:
    ask = ("--data.prompt=word1", "--model.generation.max_new_tokens=300", "--model.generation.temperature=3")
    (row,) = predict(run, tmp_path / "a.csv", *ask)
    assert len(row["text"].split()) + row["text"].count("\n") == 301
    assert "<unk>" not in row["text"]
    (row,) = predict(run, tmp_path / "a.csv", *ask, "--model.generation.allow_unknown=true")
    assert "<unk>" in row["text"]


def test_temperature_zero_always_generates_the_same(trained: Path, run: Any, tmp_path: Path) -> None:
    greedy = [
        predict(run, tmp_path / "a.csv", "--data.prompt=word1", *more, f"--model.generation.seed={seed}")[0]["text"]
        for seed, more in enumerate((("--model.generation.temperature=0",), ("--model.generation.top_k=1",)))
    ]
    assert greedy[0] == greedy[1]


def test_word_outside_the_vocabulary_is_read_as_unknown_with_a_warning(trained: Path, run: Any, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Not in the vocabulary, so the model reads <unk> for: zebra"):
        (row,) = predict(run, tmp_path / "a.csv", "--data.prompt=word1 zebra")
    assert row["text"].split()[:2] == ["word1", "zebra"]
    (known,) = predict(run, tmp_path / "b.csv", "--data.prompt=word1 <unk>")
    assert known["text"].split()[2:] == row["text"].split()[2:]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model.generation.temperature=-0.5", r"model\.generation\.temperature is -0\.5; it must be 0"),
        ("--model.generation.top_p=0", r"model\.generation\.top_p is 0\.0; it must be above 0"),
        ("--model.generation.top_k=-1", r"model\.generation\.top_k is -1; it must be 0"),
        ("--model.generation.max_new_tokens=0", r"model\.generation\.max_new_tokens is 0; it must be 1 or more"),
        ("--data.prompt= ", r"The prompt is empty \(data\.prompt\)"),
        ("--model.architecture.num_heads=3", r"architecture\.embedding_dim is 16; it must be a multiple"),
        ("--model.dropout.words=1.0", r"model\.dropout\.words is 1\.0; it must be"),
        ("--model.loss_chunk=-1", r"model\.loss_chunk is -1; it must be"),
    ],
)
def test_what_is_out_of_range_is_named(run: Any, word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("predict", "--random_weights=true", "--data.prompt=word1", word)


def test_predicting_without_a_checkpoint_is_refused(run: Any) -> None:
    with pytest.raises(InputError, match=r"was not trained.*--ckpt_path=best"):
        run("predict", "--data.prompt=word1")


def test_vocabulary_of_another_size_than_the_models_is_refused(run: Any) -> None:
    with pytest.raises(InputError, match=r"vocab_size is 20, but the data has 14 labels \(.*--model\.vocab_size=14"):
        run("fit", "--model.vocab_size=20")


def test_checkpoint_of_another_vocabulary_is_refused(trained: Path, run: Any, wikitext2: Path, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        text = (wikitext2 / f"{split}.txt").read_text()
        (tmp_path / f"{split}.txt").write_text(text.replace("word3 ", "zebra "))
    with pytest.raises(InputError, match=r"other data: its labels have 'word3' .*'zebra' \(14 and 14 in all\)"):
        run("validate", "--ckpt_path=best", f"--data.root={tmp_path}")
    (tmp_path / "train.txt").write_text("zebra " + (wikitext2 / "train.txt").read_text())
    more = ("--model.vocab_size=15", "--settings_from=command")
    with pytest.raises(InputError, match=r"other data: its labels .* \(14 and 15 in all\)"):
        run("validate", "--ckpt_path=best", f"--data.root={tmp_path}", *more)


def test_schedule_that_watches_an_unknown_metric_is_an_error_that_names_those_there_are(
    wikitext2: Path, cache: Path, tmp_path: Path
) -> None:
    model = WordLanguageModel(
        14,
        TransformerArchitecture(embedding_dim=16),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val/los"),
    )
    data = WikiText2(str(wikitext2), cache=str(cache), sequence_length=8, batch_size=4, evaluation=Evaluation(length=8))
    trainer = Trainer(default_root_dir=tmp_path, fast_dev_run=True, accelerator="cpu", enable_progress_bar=False)
    with pytest.raises(InputError, match=r"monitor is 'val/los'; a validation measures .*val/loss, val/perplexity"):
        trainer.fit(model, data)


def test_settings_of_generation_are_checked() -> None:
    for values in ({"context": 0}, {"temperature": math.inf}, {"temperature": math.nan}, {"top_p": 1.1}):
        with pytest.raises(InputError, match=next(iter(values))):
            Generation(**values)
