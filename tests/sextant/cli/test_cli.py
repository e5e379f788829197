"""The command line, end to end on a small data set."""

import csv
import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sextant.cli.cli import SextantCLI
from sextant.errors import InputError
from tests.filesystem import listing
from train import main

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = sorted(file for file in (ROOT / "configs").glob("*.yaml") if file.name != "trainer.yaml")


def run(*words: str) -> SextantCLI:
    return main(list(words))


@pytest.fixture(scope="module")
def words(few_images: Path, cache: Path) -> list[str]:
    """What all commands on the small data set have in common."""
    return [
        f"--config={ROOT / 'configs' / 'resnet_tiny_imagenet.yaml'}",
        f"--data.root={few_images}",
        f"--data.cache={cache}",
        "--data.num_workers=0",
        "--data.batch_size=8",
        "--model.stem=imagenet",
        "--trainer.max_epochs=2",
        "--trainer.log_every_n_steps=2",
        "--trainer.enable_progress_bar=false",
    ]


@pytest.fixture(scope="module")
def trained(folder: Path, words: list[str]) -> Path:
    """The folder of a finished run of two epochs."""
    run("fit", *words, "--model.num_classes=10", "--recovery_checkpoint.keep_epochs=[1]")
    return folder / "logs" / "resnet_tiny_imagenet" / "version_0"


def test_run_leaves_checkpoints_configuration_and_log(trained: Path) -> None:
    names = {file.name for file in (trained / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt", "epoch=001.ckpt"}
    assert "num_classes: 10" in (trained / "config.yaml").read_text()


def test_board_has_epoch_metrics_by_epoch_and_step_metrics_by_step(trained: Path) -> None:
    board = EventAccumulator(str(trained), size_guidance={"images": 0}).Reload()
    for name in ("loss", "accuracy", "top5"):
        for split in ("train", "val"):
            assert [point.step for point in board.Scalars(f"{split}/{name}")] == [1, 2]
    for name in ("train/loss_step", "throughput/samples_per_second", "throughput/data_wait", "gradient_norm"):
        assert [point.step for point in board.Scalars(name)] == [1, 3, 5, 7, 9]
    assert all(0 <= point.value <= 1 for point in board.Scalars("throughput/data_wait"))
    assert [image.step for image in board.Images("val/images")] == [1, 2]
    best = max(point.value for point in board.Scalars("val/accuracy"))
    assert board.Scalars("val/best_accuracy")[-1].value == pytest.approx(best)
    assert {"lr-SGD/decay", "lr-SGD/no_decay"} <= {*board.Tags()["scalars"]}
    settings = HParamsPluginData.FromString(
        board.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    ).session_start_info.hparams
    assert sorted(settings)[:7] == [
        *("Batch size", "Epochs", "Learning rate", "Optimizer", "Schedule", "Seed", "Weight decay")
    ]
    assert (settings["Learning rate"].number_value, settings["Batch size"].number_value) == (0.2, 8)
    assert (settings["Optimizer"].string_value, settings["Schedule"].string_value) == ("SGD", "WarmupCosine")
    assert settings["model.depth"].number_value == 18


def test_best_checkpoint_holds_what_validation_measured(trained: Path, words: list[str]) -> None:
    cli = run("validate", *words, "--ckpt_path=best", "--model.num_classes=10")
    board = EventAccumulator(str(trained)).Reload()
    best = max(point.value for point in board.Scalars("val/accuracy"))
    assert cli.trainer.callback_metrics["val/accuracy"].item() == pytest.approx(best)


def test_prediction_of_the_test_split_is_a_row_per_image_in_order(
    trained: Path, words: list[str], few_images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    run("predict", *words, "--ckpt_path=last", "--model.num_classes=10", f"--predictions.output={output}")
    with output.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "class_id", "class_name", "probability", "top5"]
    files = sorted(str(path) for path in (few_images / "test" / "images").iterdir())
    assert [row["file"] for row in rows] == files
    assert all(0.1 <= float(row["probability"]) <= 1 and row["top5"].count(";") == 4 for row in rows)
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]


def test_prediction_of_own_images_needs_no_data_set(trained: Path, words: list[str], tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.new("CMYK", (300, 200), (0, 200, 30, 5)).save(images / "a.jpg")
    Image.new("LA", (20, 30)).save(images / "b.png")
    output = tmp_path / "out.csv"
    run(
        *("predict", *words, "--data.root=nowhere", f"--data.images={images}", "--ckpt_path=last"),
        *("--settings_from=checkpoint", f"--predictions.output={output}"),
    )
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [Path(row["file"]).name for row in rows] == ["a.jpg", "b.png"]
    assert all(row["class_id"].startswith("n9000") and not row["class_name"].startswith("n9000") for row in rows)


def test_changed_settings_are_listed_with_both_values(trained: Path, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        run(
            *("fit", *words, "--ckpt_path=last", "--model.num_classes=10", "--trainer.max_epochs=3"),
            *("--model.label_smoothing=0.3", "--data.augmentation.flip=false", "--seed_everything=5"),
        )
    message = str(error.value)
    assert "\n  trainer.max_epochs: checkpoint 2, command 3" in message
    assert "\n  model.label_smoothing: checkpoint 0.1, command 0.3" in message
    assert "\n  data.augmentation.flip: checkpoint True, command False" in message
    assert "\n  seed_everything: checkpoint 0, command 5" in message
    assert "--settings_from" in message


@pytest.mark.parametrize(("settings_from", "smoothing"), [("checkpoint", 0.1), ("command", 0.3)])
def test_flag_says_which_settings_hold(trained: Path, words: list[str], settings_from: str, smoothing: float) -> None:
    cli = run(
        *("fit", *words, "--ckpt_path=last", "--model.num_classes=10", "--model.label_smoothing=0.3"),
        f"--settings_from={settings_from}",
    )
    assert cli.model.label_smoothing == smoothing
    assert cli.trainer.global_step == 10  # nothing was left to do


def test_free_settings_may_differ_between_a_run_and_its_continuation(trained: Path, words: list[str]) -> None:
    run("fit", *words, "--ckpt_path=last", "--model.num_classes=10", "--data.invalid_samples=skip")


@pytest.mark.slow
def test_continued_run_writes_into_the_log_of_the_run(trained: Path, words: list[str]) -> None:
    checkpoint = trained / "checkpoints" / "epoch=001.ckpt"
    cli = run("fit", *words, f"--ckpt_path={checkpoint}", "--model.num_classes=10")
    assert Path(cli.trainer.log_dir or "").resolve() == trained
    assert cli.trainer.global_step == 10


def test_number_of_classes_that_differs_from_the_data_is_refused(folder: Path, words: list[str]) -> None:
    with pytest.raises(InputError, match=r"model\.num_classes is 7, but the data has 10 labels"):
        run("fit", *words, "--model.num_classes=7")


def test_data_with_other_classes_than_the_checkpoint_is_refused(
    trained: Path, words: list[str], few_images: Path, tmp_path: Path
) -> None:
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for entry in few_images.iterdir():
        (swapped / entry.name).symlink_to(entry)
    wnids = (swapped / "wnids.txt").read_text().split()
    (swapped / "wnids.txt").unlink()
    (swapped / "wnids.txt").write_text("\n".join(reversed(wnids)))
    with pytest.raises(InputError, match=r"trained on other data: its labels have .* at 0 where the data has"):
        run("validate", *words, f"--data.root={swapped}", "--ckpt_path=best", "--model.num_classes=10")


def test_checkpoint_of_another_workload_is_refused(trained: Path, words: list[str], tmp_path: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["configuration"]["model"]["class_path"] = "modules.dlrm.ClickPredictor"
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"other\.ckpt: a checkpoint of another workload: it holds a modules\.dlrm"):
        run("fit", *words, f"--ckpt_path={tmp_path / 'other.ckpt'}", "--model.num_classes=10")


def test_last_without_a_run_is_an_error_that_names_the_folder(folder: Path, words: list[str]) -> None:
    with pytest.raises(InputError, match=r"there is no last\.ckpt of a run under logs/none"):
        run("fit", *words, "--ckpt_path=last", "--trainer.logger.name=none")


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("--data.batch_sise=3", "--data.batch_sise"),
        ("--model.lr=3", "--model.lr"),
        ("--trainer.max_epoch=3", "--trainer.max_epoch"),  # no abbreviations
        ("--data.batch_size=some", "batch_size"),
        ("--model.stem=big", "stem"),
    ],
)
def test_wrong_setting_is_named(folder: Path, words: list[str], word: str, named: str) -> None:
    with pytest.raises(InputError) as error:
        run("fit", *words, word)
    assert named in str(error.value)
    assert len(str(error.value).splitlines()) <= 5


def test_argument_that_is_not_utf8_is_named(folder: Path, words: list[str]) -> None:
    with pytest.raises(InputError, match=r"this is not UTF-8.* give the folder") as error:
        run("predict", *words, f"--data.images={os.fsdecode(b'caf%c' % 0xE9)}")
    assert str(error.value).startswith("--data.images=caf\udce9: ")


def test_unknown_key_in_a_file_is_named(folder: Path, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("data:\n  init_args:\n    batch_sise: 3\n")
    with pytest.raises(InputError, match="batch_sise"):
        run("fit", *words, f"--config={tmp_path / 'bad.yaml'}")


CONFIGURATION = (ROOT / "configs" / "resnet_tiny_imagenet.yaml").read_text()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("data:\n  # caf\u00e9\n".encode("latin-1"), ":2: not UTF-8 at byte 13 (0xe9)"),
        (CONFIGURATION.encode("utf-16"), ": it is text in UTF-16"),
        (gzip.compress(CONFIGURATION.encode()), ": it is a gzip file"),
        (b"a: b\0c\n", ":1: a NUL at byte 4"),
        (b"a: 1\nb: [", ", line 2: this is no YAML"),
        (b"- 1\n", ": Unexpected config"),
        (b"[" * 3000, ": this is no YAML"),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("suffix", ["yaml", "conf"])
def test_configuration_that_is_none_is_named(
    folder: Path, tmp_path: Path, content: bytes, complaint: str, suffix: str
) -> None:
    file = tmp_path / f"bad.{suffix}"
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        run("fit", f"--config={file}")
    assert str(error.value).startswith(f"{file}{complaint}")


@pytest.mark.parametrize("option", ["--data", "--trainer", "--trainer.logger"])
def test_configuration_of_a_part_that_is_not_utf_8_is_named(
    folder: Path, words: list[str], tmp_path: Path, option: str
) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(InputError, match=r"bad\.yaml:1: not UTF-8 at byte 5 \(0xe9\)"):
        run("fit", *words, f"{option}={tmp_path / 'bad.yaml'}")


def test_configuration_that_is_nested_too_deep_is_an_input_error(
    folder: Path, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "deep.yaml").write_text("[" * 3000 + "]" * 3000)
    for option in ("--config", "--data", "--trainer.logger"):
        with pytest.raises(InputError):
            run("fit", *words, f"{option}={tmp_path / 'deep.yaml'}")


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r"), lambda t: t + "\n\n"])
def test_byte_order_mark_and_other_line_ends_of_a_configuration_do_not_count(
    folder: Path, words: list[str], tmp_path: Path, change: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "same.yaml").write_bytes(change(CONFIGURATION).encode())
    printed = []
    for file in (ROOT / "configs" / "resnet_tiny_imagenet.yaml", tmp_path / "same.yaml"):
        with pytest.raises(SystemExit):
            run("fit", f"--config={file}", "--print_config")
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_logs_that_cannot_be_written_are_named_before_the_run(
    folder: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").write_text("")
    (tmp_path / "kept").mkdir()
    real, kept = os.access, tmp_path / "kept"
    monkeypatch.setattr(os, "access", lambda path, *more: Path(path) != kept and real(path, *more))  # root may all
    for place in ("logs", "logs/more", "kept", "kept/more"):
        with pytest.raises(InputError, match=r"the run cannot be logged .*save_dir") as error:
            run("fit", *words, "--model.num_classes=10", f"--trainer.logger.save_dir={tmp_path / place}")
        assert str(error.value).startswith(str(tmp_path / place.split("/")[0]))
    assert listing(tmp_path) == ["kept", "logs"]


def test_command_without_a_workload_names_those_there_are(folder: Path) -> None:
    with pytest.raises(InputError, match=" or ".join(config.stem for config in CONFIGS)):
        run("fit")


@pytest.mark.slow
def test_help_and_print_config_import_nothing_that_lightning_does_not() -> None:
    script = """
import sys
import lightning.pytorch.cli
before = set(sys.modules)
sys.argv = ["train.py", "--help"]
from train import main
try:
    main()
except SystemExit:
    pass
print(sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(eval(result.stdout.splitlines()[-1]))
    assert "train" in imported
    heavy = {"torchvision", "torchaudio", "transformers", "datasets", "torchrec", "fbgemm_gpu", "PIL", "modules"}
    assert not imported & heavy
