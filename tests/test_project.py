"""What a newcomer does first, and the files that describe the project.

The trainings on synthetic data take minutes, so each may run in another process of the tests (``xdist_group``).
"""

import ast
import csv
import json
import operator
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import datasets
import pytest
from PIL import Image

from datamodules.synthetic import text_vqa, wikitext2
from tests.workloads.workload import workloads

ROOT = Path(__file__).resolve().parent.parent
WORKLOAD = ["--config", "configs/resnet_tiny_imagenet.yaml"]
SYNTHETIC = [*WORKLOAD, "--config", "configs/synthetic/resnet_tiny_imagenet.yaml"]


def train(*words: str, timeout: float = 600) -> str:
    """Run train.py as a user does and return what it printed."""
    command = [sys.executable, "train.py", *words, "--trainer.enable_progress_bar=false"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("synthetic resnet")
def test_synthetic_run_reaches_its_accuracy_and_says_where_everything_is(tmp_path: Path) -> None:
    folders = [f"--data.cache={tmp_path / 'cache'}", f"--trainer.logger.save_dir={tmp_path / 'logs'}"]
    output = train("fit", *SYNTHETIC, *folders)
    assert "SYNTHETIC DATA" in output
    accuracy = re.search(r"Best val/accuracy: ([\d.]+)", output)
    assert accuracy is not None
    assert float(accuracy[1]) >= 0.95
    run = tmp_path / "logs" / "resnet_tiny_imagenet-synthetic" / "version_0"
    assert f"Best checkpoint: {run / 'checkpoints' / 'best.ckpt'}" in output
    assert f"tensorboard --logdir {run}" in output
    # A table shows each layer with its parameters and FLOPs.
    assert re.search(r"^  network\.layer4 +Sequential +8\.39 M +67\.1 M$", output, re.MULTILINE)

    predictions = tmp_path / "predictions.csv"
    train("predict", *SYNTHETIC, *folders, "--ckpt_path=best", f"--predictions.output={predictions}")
    assert len(list(csv.DictReader(predictions.open()))) == 50


@pytest.mark.slow
@pytest.mark.xdist_group("synthetic transformer")
def test_language_model_comes_close_to_the_entropy_of_its_synthetic_text(tmp_path: Path) -> None:
    name = "transformer_wikitext2.yaml"
    words = ["--config", f"configs/{name}", "--config", f"configs/synthetic/{name}"]
    words += [f"--data.cache={tmp_path / 'cache'}", f"--trainer.logger.save_dir={tmp_path / 'logs'}"]
    output = train("fit", *words)
    assert f"has a perplexity of {wikitext2.perplexity():.2f}" in output
    perplexity = re.search(r"Best val/perplexity: ([\d.]+)", output)
    assert perplexity is not None
    assert 0.98 * wikitext2.perplexity() < float(perplexity[1]) <= 1.15 * wikitext2.perplexity()


@pytest.mark.slow
@pytest.mark.xdist_group("synthetic conformer")
def test_speech_recognition_learns_the_tones_of_its_synthetic_recordings(tmp_path: Path) -> None:
    name = "conformer_librispeech.yaml"
    words = ["--config", f"configs/{name}", "--config", f"configs/synthetic/{name}"]
    words += [f"--data.cache={tmp_path / 'cache'}", f"--trainer.logger.save_dir={tmp_path / 'logs'}"]
    output = train("fit", *words)
    assert "SYNTHETIC DATA" in output
    error_rate = re.search(r"Best val/cer: ([\d.]+)", output)
    assert error_rate is not None
    assert float(error_rate[1]) < 0.05

    chapter = next((tmp_path / "cache" / "synthetic-librispeech" / "test-tones").glob("*/*"))
    transcripts = dict(line.split(" ", 1) for line in next(chapter.glob("*.trans.txt")).read_text().splitlines())
    predictions = tmp_path / "predictions.csv"
    train(
        "predict",
        *words,
        "--ckpt_path=best",
        f"--data.prediction.audio={chapter}",
        f"--predictions.output={predictions}",
    )
    rows = list(csv.DictReader(predictions.open()))
    assert len(rows) == len(transcripts)
    right = sum(row["text"] == transcripts[Path(row["file"]).stem] for row in rows)
    assert right >= 0.8 * len(rows)


@pytest.mark.slow
@pytest.mark.xdist_group("synthetic flava")
def test_questions_about_synthetic_images_are_answered_from_the_images(tmp_path: Path) -> None:
    """And blank ones are answered no better than by chance."""
    name = "flava_textvqa.yaml"
    words = ["--config", f"configs/{name}", "--config", f"configs/synthetic/{name}"]
    words += [f"--data.cache={tmp_path / 'cache'}", f"--trainer.logger.save_dir={tmp_path / 'logs'}"]
    output = train("fit", *words)
    assert "SYNTHETIC DATA" in output
    vqa_accuracy = re.search(r"Best val/vqa_accuracy: ([\d.]+)", output)
    assert vqa_accuracy is not None
    assert float(vqa_accuracy[1]) >= 0.9

    questions = tmp_path / "cache" / text_vqa.FOLDER / "data"
    rows = datasets.load_dataset(str(questions), split="validation", cache_dir=str(tmp_path / "arrow")).to_list()
    right = {}
    for kind in ("drawn", "blank"):
        asked = tmp_path / f"{kind}.jsonl"
        with asked.open("w") as lines:
            for number, row in enumerate(rows):
                image = tmp_path / f"{kind} {number}.png"
                if kind == "drawn":
                    image.write_bytes(row["image"]["bytes"])
                else:
                    Image.new("RGB", (64, 64), (55, 55, 55)).save(image)
                lines.write(json.dumps({"image": image.name, "question": row["question"]}) + "\n")
        predictions = tmp_path / f"{kind}.csv"
        train(
            "predict",
            *words,
            "--ckpt_path=best",
            f"--data.prediction.questions={asked}",
            f"--predictions.output={predictions}",
        )
        answers = [row["answer"] for row in csv.DictReader(predictions.open())]
        true = [max(row["answers"], key=row["answers"].count) for row in rows]
        right[kind] = sum(map(operator.eq, answers, true)) / len(rows)
    assert right["drawn"] >= 0.9
    assert right["blank"] <= text_vqa.image_free_accuracy() + 1e-9


@pytest.mark.slow
@pytest.mark.xdist_group("synthetic dlrm")
def test_click_prediction_comes_close_to_the_probabilities_of_its_synthetic_clicks(tmp_path: Path) -> None:
    """In one process, and sharded over two that Lightning starts."""
    words = ["--config", "configs/dlrm_criteo.yaml", "--config", "configs/synthetic/dlrm_criteo.yaml"]
    words += [f"--data.cache={tmp_path / 'cache'}", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    best = []
    for name, more in (("alone", []), ("sharded", ["--trainer.strategy=TorchRecStrategy", "--trainer.devices=2"])):
        output = train("fit", *words, *more, f"--trainer.logger.save_dir={tmp_path / name}")
        assert "SYNTHETIC DATA" in output
        possible = re.search(r"allow an AUC of about (\d\.\d+) on the val rows", output)
        reached = re.search(r"Best val/auc: (\d\.\d+)", output)
        assert possible is not None
        assert reached is not None
        assert float(possible[1]) - 0.01 <= float(reached[1]) <= float(possible[1]) + 0.001
        best.append(float(reached[1]))
    assert abs(best[0] - best[1]) < 0.002


@pytest.mark.slow
@pytest.mark.xdist_group("synthetic deeplab")
def test_segmentation_finds_the_shapes_of_its_synthetic_images(tmp_path: Path) -> None:
    words = ["--config", "configs/deeplab_voc.yaml", "--config", "configs/synthetic/deeplab_voc.yaml"]
    words += [f"--data.cache={tmp_path / 'cache'}", f"--trainer.logger.save_dir={tmp_path / 'logs'}"]
    output = train("fit", *words)
    assert "SYNTHETIC DATA" in output
    reached = re.search(r"Best val/miou: (\d\.\d+)", output)
    assert reached is not None
    assert float(reached[1]) >= 0.8
    images = tmp_path / "cache" / "synthetic-pascal-voc" / "JPEGImages"
    folder = f"--segmentations.folder={tmp_path / 'segmentations'}"
    shares = tmp_path / "shares.csv"
    train("predict", *words, "--ckpt_path=best", f"--data.images={images}", folder, f"--predictions.output={shares}")
    names = {path.stem for path in images.iterdir()}
    for kind in ("masks", "colored", "overlays"):
        assert {path.stem for path in (tmp_path / "segmentations" / kind).iterdir()} == names
    assert len(list(csv.DictReader(shares.open()))) == len(names)


@pytest.mark.slow
def test_two_processes_started_by_lightning_train_and_predict(tiny_imagenet: Path, tmp_path: Path) -> None:
    words = [
        *WORKLOAD,
        *(f"--data.root={tiny_imagenet}", f"--data.cache={tmp_path / 'cache'}", "--data.batch_size=16"),
        *("--model.num_classes=10", "--model.stem=imagenet", "--trainer.max_epochs=1"),
        *("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"),
        f"--trainer.logger.save_dir={tmp_path / 'logs'}",
    ]
    train("fit", *words)
    predictions = tmp_path / "predictions.csv"
    train("predict", *words, "--ckpt_path=last", f"--predictions.output={predictions}")
    rows = list(csv.DictReader(predictions.open()))
    files = sorted(str(path) for path in (tiny_imagenet / "test" / "images").iterdir())
    assert [row["file"] for row in rows] == files
    assert not list(tmp_path.glob(".predictions*"))


@pytest.mark.slow
def test_bad_input_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    words = [f"--data.root={tmp_path / 'nowhere'}", f"--trainer.logger.save_dir={tmp_path / 'logs'}"]
    command = [sys.executable, "train.py", "fit", *WORKLOAD, *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"error: {tmp_path / 'nowhere'}: there is no such folder (data.root)" in result.stderr


def test_requirements_pin_versions_and_name_no_host() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert all(re.match(r"^[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==[^ ]+( ; .*)?$", line) for line in lines)
    pinned = {line.split("==")[0].split("[")[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    assert {re.split(r"[\[<>=!]", name)[0] for name in wanted} <= pinned
    assert not {"lightning==2.6.2", "lightning==2.6.3"} & set(lines)


def test_documentation_names_configurations_and_files_that_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page}: {link}"
    readme = " ".join(page.read_text(encoding="utf-8") for page in pages)
    folders = "app|benchmarks|callbacks|configs|datamodules|modules|sextant|tests"
    for name in set(re.findall(rf"(?<![\w/])(?:{folders})/[\w/]+\.(?:py|yaml|csv)", readme)):
        assert (ROOT / name).exists(), name
    for target in set(re.findall(r"^make ([\w-]+)", readme, re.MULTILINE)):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_readme_or_a_page_of_the_documentation_names_every_configuration() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    words = set(re.findall(r"\w+", " ".join(page.read_text(encoding="utf-8") for page in pages)))
    assert {workload.name for workload in workloads()} <= words


def test_repository_holds_no_lock_file_and_no_data() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert "uv.lock" not in tracked
    assert all(os.path.getsize(ROOT / name) < 2**20 for name in tracked if (ROOT / name).exists())  # noqa: PTH202


def test_messages_of_the_page_on_troubleshooting_are_those_of_the_program() -> None:
    said = set()
    for folder in ("sextant", "modules", "datamodules", "callbacks"):
        for file in (ROOT / folder).rglob("*.py"):
            nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            said |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) >= 20
    parts = {part.strip() for message in messages for part in message.split("...")}
    assert [part for part in parts if not any(part in text for text in said)] == []
