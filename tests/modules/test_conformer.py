"""Speech recognition's commands, end to end on a few utterances in tones."""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.functional import one_hot
from torchmetrics.functional.text import char_error_rate, word_error_rate

from datamodules.librispeech import LibriSpeech
from datamodules.speech.batching import Batching
from datamodules.speech.log_mel import Features
from datamodules.speech.subsets import Subsets
from modules.beam_search import Decoding
from modules.conformer import SpeechRecognizer
from modules.networks.conformer import ConformerArchitecture
from modules.networks.ctc import ctc_losses
from sextant.data_spec import DataSpec
from sextant.errors import InputError

TINY = ConformerArchitecture(dim=16, num_heads=2, num_layers=1, feedforward_dim=16, kernel_size=3, dropout=0.0)


@pytest.fixture(scope="module")
def words(small: Callable[[str], list[str]]) -> list[str]:
    """What all commands have in common."""
    return [
        *(*small("conformer_librispeech"), "--data.num_workers=0"),
        *("--trainer.max_epochs=2", "--trainer.log_every_n_steps=2", "--trainer.enable_progress_bar=false"),
    ]


def test_board_has_losses_error_rates_padding_speed_batches_and_images(trained: Path) -> None:
    board = EventAccumulator(str(trained), size_guidance={"tensors": 0}).Reload()
    for name in ("train/loss", "train/unalignable", "val/loss", "val/unalignable", "val/wer", "val/cer"):
        assert [point.step for point in board.Scalars(name)] == [1, 2], name
    steps = [1, 3, 5, 7, 9]
    speeds = ["throughput/audio_seconds_per_second", "throughput/utterances_per_second", "throughput/data_wait"]
    for name in ("train/loss_step", "train/padding", "gradient_norm", *speeds):
        assert [point.step for point in board.Scalars(name)] == steps, name
    assert all(0 <= point.value < 1 for point in board.Scalars("train/padding"))
    assert [image.step for image in board.Images("val/speech")] == [1, 2]
    assert len(board.Images("batches/lengths")) == 1
    summary = board.Tensors("batches/summary/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "5 batches of" in summary
    assert "14 in all" in summary


@pytest.mark.parametrize("beam_size", [1, 4])
def test_measured_error_rates_and_loss_are_those_of_all_utterances_one_by_one(
    trained: Path, run: Any, librispeech: Path, cache: Path, beam_size: int
) -> None:
    """With a beam too, which may differ from the checkpoint's."""
    trainer = run("test", "--ckpt_path=best", f"--model.decoding.beam_size={beam_size}").trainer
    measured = trainer.callback_metrics
    model = SpeechRecognizer(num_features=16, architecture=TINY, decoding=Decoding(beam_size)).eval()
    model.trainer = trainer
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    model.data_spec = DataSpec.from_state_dict(checkpoint["data_spec"])
    data = LibriSpeech(
        str(librispeech),
        cache=str(cache),
        subsets=Subsets(test=["test-small"]),
        features=Features(num_features=16),
        batching=Batching(max_batch_ex=1),
    )
    data.setup("test")
    losses, labels, transcripts, recognized = 0.0, 0, [], []
    with torch.no_grad():
        for read in data.test_dataloader():
            batch = data.transform(read, training=False)
            log_probs, frames = model(*batch["features"])
            losses += ctc_losses(log_probs, frames, *batch["labels"]).sum().item()
            labels += batch["labels"][1].sum().item()
            transcripts += batch["text"]
            recognized += model.transcribe(*batch["features"])
    assert len(transcripts) == 4
    assert measured["test/loss"].item() == pytest.approx(losses / labels, rel=1e-4)
    assert measured["test/wer"].item() == pytest.approx(word_error_rate(recognized, transcripts).item())
    assert measured["test/cer"].item() == pytest.approx(char_error_rate(recognized, transcripts).item())
    assert measured["test/unalignable"] == 0


def test_any_audio_is_transcribed_into_rows_with_times_and_confidence(
    trained: Path, run: Any, librispeech: Path, tmp_path: Path
) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    samples, rate = soundfile.read(next((librispeech / "test-small").rglob("*.flac")))
    soundfile.write(audio / "a.wav", np.stack([samples, samples], 1), rate)
    soundfile.write(audio / "b.ogg", np.tile(samples, 4), 8000)
    common = ["--ckpt_path=best", f"--data.prediction.audio={audio}", "--data.prediction.longest_segment=2"]
    lines, table = tmp_path / "found.jsonl", tmp_path / "found.csv"
    run("predict", *common, f"--predictions.output={lines}")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {row["file"] for row in rows} == {str(audio / "a.wav"), str(audio / "b.ogg")}
    assert all(list(row) == ["file", "start", "end", "text", "confidence", "words"] for row in rows)
    places = [(row["start"], row["end"]) for row in rows if row["file"].endswith("b.ogg")]
    assert places[0][0] == 0
    assert places[-1][1] == pytest.approx(4 * len(samples) / 8000, abs=1e-3)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(places))
    for row in rows:
        assert 0 <= row["confidence"] <= 1
        assert [word["word"] for word in row["words"]] == row["text"].split()
        assert all(row["start"] <= w["start"] < w["end"] <= row["end"] + 0.04 for w in row["words"])
    run("predict", *common, f"--predictions.output={table}")
    with table.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [json.loads(row["words"]) for row in written] == [row["words"] for row in rows]
    assert [float(row["start"]) for row in written] == [row["start"] for row in rows]


def test_words_have_the_times_of_their_encoded_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoded frame stands for four of the features."""
    model = SpeechRecognizer(vocab_size=4, num_features=16, architecture=TINY).eval()
    model.data_spec = DataSpec(labels=("<blank>", "\u2581", "A", "B"))
    path = torch.tensor([0, 2, 2, 3, 1, 0, 0, 3, 0, 0])
    monkeypatch.setattr(model, "forward", lambda *_: (one_hot(path, 4)[None].log(), torch.tensor([10])))
    features = torch.zeros(1, 40, 16), torch.tensor([40])
    places = {"start": torch.tensor([1.5]), "end": torch.tensor([2.3])}
    (row,) = model.predict_step({"features": features, **places, "frame_seconds": 0.02}, 0)
    assert (row["start"], row["end"], row["text"]) == (1.5, 2.3, "AB B")
    assert [(word["word"], word["start"], word["end"]) for word in row["words"]] == [
        ("AB", 1.58, 1.82),  # frames 1 to 3, of 0.08 s each
        ("B", 2.06, 2.14),
    ]


def test_validations_of_training_do_not_search(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: Any) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr("modules.conformer.BeamSearch", search)
    run("fit", "--model.decoding.beam_size=4", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1")
    with pytest.raises(AssertionError, match="searched"):
        run("validate", "--ckpt_path=last", "--model.decoding.beam_size=4")


def test_utterance_too_short_for_its_labels_is_left_out_counted_and_named() -> None:
    torch.manual_seed(0)
    model = SpeechRecognizer(num_features=16, architecture=TINY).eval()
    features = torch.randn(2, 40, 16)
    labels = torch.tensor([[2, 3, 4, 5, 6], [2, 2, 2, 2, 2]])
    both = {
        "features": (features, torch.tensor([40, 28])),
        "labels": (labels, torch.tensor([5, 5])),  # the second one needs 9 frames and has 7
        "id": ["good", "bad"],
    }
    with pytest.warns(UserWarning, match="Too short for their labels, so left out of the loss: bad"):
        loss = model.step(both, model.train_metrics)["loss"]
    alone = {"features": (features[:1], torch.tensor([40])), "labels": (labels[:1], torch.tensor([5])), "id": ["good"]}
    expected = model.step(alone, model.train_metrics.clone())["loss"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.train_metrics["unalignable"].compute() == 1
    assert model.train_metrics["loss"].compute() == pytest.approx(expected.item(), rel=1e-5)
    model.zero_grad()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_batch_of_nothing_but_too_short_utterances_costs_nothing() -> None:
    model = SpeechRecognizer(num_features=16, architecture=TINY)
    batch = {
        "features": (torch.randn(1, 8, 16), torch.tensor([8])),
        "labels": (torch.tensor([[2, 3, 4, 5, 6]]), torch.tensor([5])),
        "id": ["bad"],
    }
    with pytest.warns(UserWarning, match="bad"):
        loss = model.step(batch, model.train_metrics)["loss"]
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model.architecture.dim=18", r"architecture\.dim is 18; it must be a multiple of twice .*num_heads \(2\)"),
        ("--model.architecture.kernel_size=4", r"model\.architecture\.kernel_size is 4; it must be odd"),
        ("--model.architecture.dropout=1", r"model\.architecture\.dropout is 1\.0"),
        ("--model.vocab_size=1", r"model\.vocab_size is 1"),
        ("--model.architecture.num_layers=0", r"model\.architecture\.num_layers is 0"),
        ("--model.num_features=20", r"model\.num_features is 20, but the data has 16 \(data\.features\.num_features\)"),
        ("--model.vocab_size=30", r"model\.vocab_size is 30, but the data has 29 labels"),
        ("--model.decoding.language_model=x.arpa", "needs a beam"),
        ("--data.batching.max_batch_length=1", r"longer than the budget of 1: .*max_batch_length.*seconds"),
    ],
)
def test_settings_that_make_no_sense_are_named(run: Any, word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("fit", word)


def test_predicting_needs_audio_and_a_checkpoint(trained: Path, run: Any, librispeech: Path) -> None:
    with pytest.raises(InputError, match=r"give an audio file or a folder with --data\.prediction\.audio="):
        run("predict", "--ckpt_path=best")
    with pytest.raises(InputError, match="Give a checkpoint"):
        run("predict", f"--data.prediction.audio={librispeech / 'test-small'}")


def test_checkpoint_of_another_alphabet_is_refused(trained: Path, run: Any) -> None:
    other = ["--ckpt_path=best", "--data.tokenizer.alphabet= 'BACDEFGHIJKLMNOPQRSTUVWXYZ"]
    with pytest.raises(InputError, match=r"contradict the model that the checkpoint holds:\n  data\.tokenizer"):
        run("validate", *other)
    with pytest.raises(InputError, match=r"other data: its labels have 'A' at 3 where the data has 'B'"):
        run("validate", *other, "--settings_from=command")
