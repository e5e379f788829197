"""The benchmarks print figures that can be right."""

import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def run(module: str, *words: str, folder: Path) -> str:
    """Run a benchmark from the project's folder, with temporary files in ``folder``, and give what it printed."""
    environment = {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", f"benchmarks.{module}", *words]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, errors = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # as Ctrl-C: it stops the run it has started
            out, errors = process.communicate()
    assert process.returncode == 0, f"{out}\n{errors}"
    return out


def assert_first_line(out: str) -> None:
    assert re.match(r"Hardware: \d+ cores of .+; torch \d.+; data: SYNTHETIC", out), out


@pytest.mark.slow
def test_trainer_overhead_prints_the_step_of_each_variant_and_the_ratio(tmp_path: Path) -> None:
    out = run("trainer_overhead", "--batch-size=16", "--steps=2", "--warmup=1", "--rounds=2", folder=tmp_path)
    assert_first_line(out)
    assert "batch 16" in out
    median = {}
    for variant in ("trainer", "plain", "plain+metrics"):
        row = re.search(rf"^{re.escape(variant)} +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
        assert row, out
        median[variant], mean, least, processor, speed = map(float, row.groups())
        assert 0 < least <= median[variant]
        assert min(mean, processor, speed) > 0
        assert speed == pytest.approx(16 / median[variant] * 1000, rel=0.01)
    ratio = re.search(r"ratio trainer/plain: ([\d.]+) \(by round: [\d.]+, [\d.]+\)", out)
    assert ratio, out
    assert float(ratio[1]) == pytest.approx(median["trainer"] / median["plain"], rel=0.01)
    for name in ("overhead", "  metrics", "  the rest"):
        assert re.search(rf"^{name} +-?[\d.]+ ms per step, +-?[\d.]+ %", out, re.MULTILINE), out
    assert not list(tmp_path.glob("trainer_overhead_*")), "temporary files were left behind"


@pytest.mark.slow
def test_language_model_prints_step_and_memory_of_each_variant_and_times_generation(tmp_path: Path) -> None:
    variants = ["plain", "classic", "modern, bf16"]
    sizes = ("--steps=1", "--warmup=1", "--rounds=2", "--words=24")
    out = run("language_model", *sizes, "--variants", *variants, folder=tmp_path)
    assert_first_line(out)
    median = {}
    for variant in variants:
        row = re.search(rf"^{variant} +([\d,]+) +([\d.]+) +([\d.]+) +([\d.]+) to ([\d.]+) +(\d+)$", out, re.MULTILINE)
        assert row, out
        parameters, median[variant], ratio, least, most, peak = (float(text.replace(",", "")) for text in row.groups())
        assert parameters == pytest.approx(13_828_478, rel=0.01)
        assert ratio == pytest.approx(median[variant] / median["plain"], rel=0.01)
        assert 0 < least <= most
        assert peak > 50  # gradients alone are 55 MB
    times = re.search(r"generating 24 words: cached ([\d.]+) s, uncached ([\d.]+) s, ratio ([\d.]+)", out)
    assert times, out
    assert not list(tmp_path.glob("language_model_*")), "temporary files were left behind"


@pytest.mark.slow
def test_throughput_prints_a_row_for_each_device(tmp_path: Path) -> None:
    out = run(
        "throughput",
        "--steps=12",
        "--batch-size=16",
        "--processes=2",
        "--",
        "--model.stem=imagenet",
        f"--data.cache={tmp_path / 'cache'}",
        folder=tmp_path,
    )
    assert_first_line(out)
    rows = re.findall(r"^(cpu\S*(?: \S+)*) +([\d.]+) +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
    assert [row[0] for row in rows] == ["cpu", "cpu, 2 processes (ddp)"], out
    for _, speed, ratio, waiting in rows:
        assert float(speed) > 0
        assert float(ratio) > 0
        assert 0 <= float(waiting) <= 1
    assert float(rows[0][2]) == 1
    assert not list(tmp_path.glob("throughput_*")), "temporary files were left behind"


@pytest.mark.slow
def test_dynamic_batching_prints_a_row_for_each_method(tmp_path: Path) -> None:
    methods = ["fixed size, sorted", "ours, padding 3.0%"]
    image = tmp_path / "padding.png"
    out = run("dynamic_batching", "--texts=20000", f"--image={image}", "--methods", *methods, folder=tmp_path)
    assert image.read_bytes().startswith(b"\x89PNG")
    assert_first_line(out)
    rows = {}
    for method in methods:
        row = re.search(rf"^{re.escape(method)} +([\d,]+) +([\d.]+) +([\d.]+) +(\d+) +(\d+) +(\d+) ", out, re.MULTILINE)
        assert row, out
        rows[method] = [float(text.replace(",", "")) for text in row.groups()]
    assert rows["fixed size, sorted"][2] == 100  # the same batches in every epoch
    assert rows["ours, padding 3.0%"][1] == pytest.approx(3, abs=0.3)
    assert rows["ours, padding 3.0%"][2] < 50
    assert rows["ours, padding 3.0%"][3:] == [0, 0, 0]  # over the budget, left out, repeated


@pytest.mark.slow
def test_speech_training_times_an_epoch_of_each_method(tmp_path: Path) -> None:
    words = ["--utterances=24", "--budget=6", "--rounds=1", "--layers=1"]
    out = run("speech_training", *words, folder=tmp_path)
    assert_first_line(out)
    rows = re.findall(r"^(\S.*?) +([\d.]+) +[\d.]+ to [\d.]+ +([\d.]+) +(\d+)$", out, re.MULTILINE)
    assert [row[0] for row in rows] == ["fixed size, random", "fixed size, sorted", "ours, padding 3%"], out
    assert float(rows[0][2]) == 1
    assert all(float(seconds) > 0 and int(peak) > 0 for _, seconds, _, peak in rows)


@pytest.mark.slow
def test_segmentation_prints_the_ratios_of_steps_and_of_reading(tmp_path: Path) -> None:
    words = ["--backbone=mobilenet_v3_large", "--steps=2", "--warmup=1", "--rounds=2", "--threads=1"]
    words += ["--images=12", "--batch-size=4", "--crop-size=65", "--num-workers=0"]
    out = run("segmentation", *words, folder=tmp_path)
    assert_first_line(out)
    for variant in ("trainer", "plain"):
        row = re.search(rf"^{variant} +([\d.]+) +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
        assert row, out
        assert 0 < float(row[2]) <= float(row[1])
    assert re.search(r"^step ratio trainer/plain: [\d.]+; in processor time [\d.]+$", out, re.MULTILINE), out
    rates = {name: re.search(rf"^{name} +([\d.]+) images per second$", out, re.M) for name in ("ours", "reference")}
    assert all(rate and float(rate[1]) > 0 for rate in rates.values()), out
    assert re.search(r"^reading ratio ours/reference: [\d.]+ \([\d.]+ to [\d.]+\)$", out, re.MULTILINE), out
    assert not list(tmp_path.glob("segmentation_*")), "temporary files were left behind"


@pytest.mark.slow
def test_click_log_prints_rates_and_memory_for_each_number_of_rows(tmp_path: Path) -> None:
    out = run("click_log", "--rows", "500", "1500", "--batch-size=64", "--steps=3", "--gzip", folder=tmp_path)
    assert_first_line(out)
    for rows in ("500", "1,500"):
        row = re.search(rf"^ +{rows} +[\d,]+ +([\d,]+) +[\d,]+ +([\d,]+)$", out, re.MULTILINE)
        assert row, out
        assert all(int(rate.replace(",", "")) > 500 for rate in row.groups())
    assert not list(tmp_path.glob("click_log_*")), "temporary files were left behind"


@pytest.mark.parametrize(
    "module",
    [
        "trainer_overhead",
        "throughput",
        "language_model",
        "dynamic_batching",
        "speech_training",
        "click_log",
        "segmentation",
    ],
)
@pytest.mark.parametrize("words", [["--steps=0"], ["--steps=many"], ["--no-such-option"]])
def test_benchmarks_refuse_what_they_cannot_do(
    module: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        import_module(f"benchmarks.{module}").main(words)
    assert stopped.value.code == 2
    assert words[0].split("=")[0] in capsys.readouterr().err


@pytest.mark.slow
def test_sharded_training_prints_the_step_of_each_variant_and_the_ratios(tmp_path: Path) -> None:
    words = ["--steps=2", "--warmup=1", "--rounds=1", "--batch-size=64", "--table-rows=100", "--bottom=8", "--top=8"]
    out = run("sharded_training", *words, folder=tmp_path)
    assert_first_line(out)
    assert re.search(r"^all tables: \d+ MB; peak of resident memory in each process .*: [\d,]+, [\d,]+ MB$", out, re.M)
    steps = {}
    for variant in ("trainer", "plain", "trainer+pipeline", "plain+pipeline"):
        row = re.search(rf"^{re.escape(variant)} +([\d.]+) +([\d,]+)$", out, re.MULTILINE)
        assert row is not None, out
        steps[variant] = float(row[1])
        assert float(row[2].replace(",", "")) == pytest.approx(64_000 / steps[variant], rel=0.01)
    for suffix in ("", "+pipeline"):
        ratio = re.search(rf"^speed of trainer{re.escape(suffix)} by plain{re.escape(suffix)}: ([\d.]+) ", out, re.M)
        assert ratio is not None, out
        assert float(ratio[1]) == pytest.approx(steps[f"plain{suffix}"] / steps[f"trainer{suffix}"], rel=0.02)


@pytest.mark.slow
def test_visual_questions_prints_the_step_of_each_variant_with_its_ratio_and_peak(tmp_path: Path) -> None:
    out = run("visual_questions", "--tiny", "--rounds=2", folder=tmp_path)
    assert_first_line(out)
    median = {}
    for variant in ("by hand", "trainer", "by hand, 512 tokens"):
        row = re.search(rf"^{variant} +([\d.]+) +([\d.]+) to ([\d.]+) +([\d.]+) +(\d+)$", out, re.MULTILINE)
        assert row, out
        median[variant], least, most, ratio, peak = map(float, row.groups())
        assert 0 < least <= median[variant] <= most
        assert least / median["by hand"] / 2 < ratio < 2 * most / median["by hand"]
        assert peak > 1
    assert median["by hand, 512 tokens"] > median["by hand"]
    assert not list(tmp_path.glob("visual_questions_*")), "temporary files were left behind"
