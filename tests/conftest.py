"""Data in the real on-disk formats, made once per session.

What takes long to import is imported by the fixtures: the process that only shares the tests out does without.
"""

import ctypes
import gc
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.workloads.workload import CONFIGS, Workload

M_TRIM_THRESHOLD = -1  # of glibc's malloc.h

# CI tries the same examples each time; on a developer's machine Hypothesis goes on looking for new ones. No example
# fails because the machine is busy.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("developer", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the commands of a file run, one after the other, as a user's do."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["train.py"])
        yield folder


@pytest.fixture(scope="module")
def memory_kept_again() -> Iterator[None]:
    """After tests that measure memory, let the C library keep what is freed: the others take a quarter longer else."""
    from sextant.memory import M_MMAP_THRESHOLD

    yield
    library = ctypes.CDLL(None)
    for parameter, most in ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**26)):  # which it comes to by itself
        library.mallopt(parameter, most)


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Signals do what they usually do, also where the tests were started with some ignored, as by nohup."""
    before = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    }
    for number in before:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny_imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in Tiny-ImageNet's layout: 10 classes, 80 training, 40 validation, 20 test images."""
    from datamodules.synthetic import tiny_imagenet as synthetic

    root = tmp_path_factory.mktemp("data") / "tiny-imagenet-200"
    synthetic.make(root, train=8, val=4, test=2)
    return root


@pytest.fixture(scope="session")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller one: 10 classes, 40 training, 20 validation, 10 test images."""
    from datamodules.synthetic import tiny_imagenet as synthetic

    root = tmp_path_factory.mktemp("few") / "tiny-imagenet-200"
    synthetic.make(root, train=4, val=2, test=1)
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's decoded data is kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def wikitext2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text in WikiText-2's layout: 170 training, 45 validation, 50 test tokens, 14 words with <eos>, <unk>."""
    root = tmp_path_factory.mktemp("text") / "wikitext-2"
    root.mkdir()
    draw = random.Random(0)
    words = ["<unk>", *(f"word{i}" for i in range(12))]
    for split, tokens in {"train": 170, "valid": 45, "test": 50}.items():
        first = words[:] if split == "train" else []
        text = first + draw.choices([*words, "\n"], k=tokens - 1 - len(first))
        (root / f"{split}.txt").write_text(" ".join(["", *text, "\n"]))
    return root


@pytest.fixture(scope="session")
def librispeech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in LibriSpeech's layout: 14 training, 6 validation, 4 test utterances of 0.7 to 2.7 s."""
    import numpy as np

    from datamodules.synthetic import librispeech as synthetic

    root = tmp_path_factory.mktemp("speech") / "LibriSpeech"
    for seed, (subset, count) in enumerate({"train-small": 14, "dev-small": 6, "test-small": 4}.items()):
        synthetic.write_subset(root / subset, np.linspace(0.4, 1.6, count), np.random.default_rng([seed, 2]))
    return root


@pytest.fixture(scope="session")
def criteo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in Criteo's layout: ``train.txt`` with 70 rows."""
    from datamodules.synthetic import criteo as synthetic

    root = tmp_path_factory.mktemp("clicks") / "criteo"
    synthetic.make(root, rows=70)
    return root


@pytest.fixture(scope="session")
def text_vqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of questions about images: 156 training, 91 validation, 13 test questions, 13 answers.

    In ``data`` Parquet files with the columns of the Hugging Face hub's TextVQA, and ``vocab.txt``.
    """
    from datamodules.synthetic import text_vqa as synthetic

    root = tmp_path_factory.mktemp("questions") / "text-vqa"
    synthetic.make(root, train=12, val=7, test=1)
    return root


@pytest.fixture(scope="session")
def pascal_voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in Pascal VOC's layout: 5 classes, 20 training, 3 validation images of 40 to 56 pixels."""
    from datamodules.synthetic import pascal_voc as synthetic

    root = tmp_path_factory.mktemp("segmentation") / "VOC2012"
    synthetic.make(root, train=20, val=3, sides=(40, 56))
    return root


def pytest_configure() -> None:
    """Compute in one thread, also in the processes that tests start: the tests run in as many as there are cores."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the million objects that imports have made."""
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--configs", type=Path, default=CONFIGS, help="the folder of the workloads that tests/workloads runs"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, which makes what they share once; those of a workload have their own.

    What measures memory comes first, since it would find room in the gaps that other tests leave; then the workloads,
    whose runs take longest.
    """
    first = ("measures_memory", "xdist_group")
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in first])
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """The arguments by which a command runs a workload on small data, by the name of its file in ``configs``."""
    folder = tmp_path_factory.mktemp("small")

    def arguments(name: str, predicting: bool = False) -> list[str]:
        workload = Workload(request.config.getoption("--configs") / f"{name}.yaml")
        overlays = []
        for number, text in enumerate(workload.small(request.getfixturevalue)):
            overlays.append(folder / f"{name}.{number}.yaml")
            overlays[-1].write_text(text, encoding="utf-8")
        return [f"--config={file}" for file in (workload.config, *overlays[: None if predicting else 1])]

    return arguments
