"""Runs that were killed end as if they had not been, and processes share the samples without loss."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modules.networks.transformer import CausalTransformer, TransformerArchitecture
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.launch import finish, start, start_ranks
from tests.recording import read_batches


@dataclass(frozen=True)
class Workload:
    """What to run: five training and three validation batches an epoch.

    Args:
        config: name of the configuration.
        data: name of the DataModule.
        metrics: what is logged of each split, once an epoch.
        words: what else the command says.
        alone: what else it says in one process.
        together: what else it says in two.
        strategy: of two processes.
    """

    config: str
    data: str
    metrics: tuple[str, ...]
    words: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    strategy: str = "ddp"

    def command(self, small: Callable[[str], list[str]], processes: int = 1) -> list[str]:
        return [
            *("fit", *small(self.config), *self.words),
            *(self.alone if processes == 1 else self.together),
            "--trainer.max_epochs=3",
            "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false",
            "--trainer.callbacks+=tests.recording.RecordBatches",
            "--trainer.callbacks.folder=.",
            "--recovery_checkpoint.every_n_steps=2",
        ]

    def run_folder(self, folder: Path) -> Path:
        return folder / "logs" / self.config / "version_0"

    def last(self, folder: Path) -> Path:
        return self.run_folder(folder) / "checkpoints" / "last.ckpt"


# Runs that draw at random wherever they can: order, augmentation, MixUp or CutMix, windows, dropout, speed; with
# averages of the weights; one whose rate follows the validations, and whose batches are of different lengths; one with
# dynamic batches, one for each process; one whose tables are sharded; and one that draws crops while it reads.
TEXT_METRICS = ("loss", "perplexity", "bits_per_word")
RESNET = Workload("resnet_tiny_imagenet", "TinyImageNet", ("loss", "accuracy", "top5"))
MODERN = Workload("transformer_wikitext2", "WikiText2", TEXT_METRICS)
CLASSIC = Workload(
    "transformer_wikitext2_baseline", "WikiText2", TEXT_METRICS, ("--data.sequence_length=9", "--model.optimizer.lr=20")
)
SPEECH = Workload(
    "conformer_librispeech",
    "LibriSpeech",
    ("loss", "unalignable"),
    alone=("--data.batching.max_batch_length=6",),
    together=("--data.batching.max_batch_length=3.5",),
)
QUESTIONS = Workload(
    "flava_textvqa", "TextVQA", ("loss", "accuracy", "vqa_accuracy", "vqa_ceiling"), ("--model.head_dropout=0.5",)
)
CLICKS = Workload("dlrm_criteo", "Criteo", ("loss", "normalized_entropy", "calibration"), strategy="TorchRecStrategy")
CROPS = Workload("deeplab_voc", "PascalVOC", ("loss",))


# The run waits before its tenth step, the last of its second epoch; the eighth was the last one saved.
HOLD = "--trainer.callbacks.hold_at=9"


def kill_in_second_epoch(workload: Workload, processes: list[ForkProcess], folder: Path) -> None:
    """Kill all processes of a run that waits in its second epoch."""
    deadline = time.monotonic() + 240
    for rank in range(len(processes)):
        batches: list[tuple[str, int, list[int]]] = []
        while [split for split, _, _ in batches].count("train") < 10:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            assert all(process.is_alive() for process in processes), (folder / "log").read_text()
            time.sleep(0.05)
            if (folder / f"{rank}.jsonl").exists():
                batches = read_batches(folder, rank)
    for process in processes:
        process.kill()
        process.join()
    checkpoint = AtomicCheckpointIO().load_checkpoint(workload.last(folder))
    assert checkpoint[workload.data] == {"epoch": 1, "done": [[3, len(processes)]]}


def assert_same_training(workload: Workload, a: Path, b: Path) -> None:
    """Weights, averaged weights, the optimizer's state and the metrics on the board are equal bit by bit."""
    old, new = (AtomicCheckpointIO().load_checkpoint(workload.last(folder)) for folder in (a, b))
    assert old.keys() == new.keys()
    for part in {"state_dict", "current_model_state"} & old.keys():
        assert old[part].keys() == new[part].keys()
        for name in old[part]:
            assert torch.equal(old[part][name], new[part][name]), f"{part}: {name}"
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (old, new)]
    assert states[0].keys() == states[1].keys()
    for i, key in ((i, key) for i, state in states[0].items() for key in state):
        assert torch.equal(torch.as_tensor(states[0][i][key]), torch.as_tensor(states[1][i][key])), (i, key)
    assert old["lr_schedulers"] == new["lr_schedulers"]
    boards = [EventAccumulator(str(workload.run_folder(folder))).Reload() for folder in (a, b)]
    for metric in (f"{split}/{name}" for split in ("train", "val") for name in workload.metrics):
        points = [[(point.step, point.value) for point in board.Scalars(metric)] for board in boards]
        assert len(points[0]) == 3
        assert points[0] == points[1], metric


class Runs:
    """Undisturbed runs, each made once."""

    def __init__(self, small: Callable[[str], list[str]], factory: pytest.TempPathFactory) -> None:
        self._small = small
        self._factory = factory
        self._folders: dict[tuple[Workload, int], Path] = {}

    def folder(self, workload: Workload, processes: int = 1) -> Path:
        """Where a workload was run with so many processes."""
        if (workload, processes) not in self._folders:
            folder = self._factory.mktemp("whole")
            log, command = folder / "log", workload.command(self._small, processes)
            finish(
                [start([*command, "--data.num_workers=0"], folder, log=log)]
                if processes == 1
                else start_ranks(command, folder, processes, log, workload.strategy),
                log,
            )
            self._folders[workload, processes] = folder
        return self._folders[workload, processes]


@pytest.fixture(scope="module")
def whole_runs(small: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(small, tmp_path_factory)


@pytest.mark.parametrize(
    ("workload", "num_workers"),
    [
        *((RESNET, 2), (SPEECH, 2)),
        *(
            pytest.param(*other, marks=pytest.mark.slow)
            for other in ((RESNET, 0), (MODERN, 2), (CLASSIC, 0), (CLICKS, 2), (QUESTIONS, 2), (CROPS, 2))
        ),
    ],
    ids=lambda value: getattr(value, "config", value),
)
def test_killed_run_ends_as_if_it_had_not_been_killed(
    workload: Workload, num_workers: int, small: Callable[[str], list[str]], whole_runs: Runs, tmp_path: Path
) -> None:
    words = [*workload.command(small), f"--data.num_workers={num_workers}"]
    log = tmp_path / "log"
    kill_in_second_epoch(workload, [start([*words, HOLD], tmp_path, log=log)], tmp_path)
    finish([start([*words, "--ckpt_path=last"], tmp_path, log=log)], log)
    assert_same_training(workload, whole_runs.folder(workload), tmp_path)


# What two processes share differs in how batches are dealt and in the strategy; the rest are run with the slow tests.
@pytest.mark.parametrize(
    "workload",
    [CLICKS, *(pytest.param(o, marks=pytest.mark.slow) for o in (RESNET, MODERN, SPEECH, QUESTIONS, CROPS))],
    ids=lambda workload: workload.config,
)
def test_killed_run_of_two_processes_ends_as_if_it_had_not_been_killed(
    workload: Workload, small: Callable[[str], list[str]], whole_runs: Runs, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    command = workload.command(small, processes=2)
    kill_in_second_epoch(workload, start_ranks([*command, HOLD], tmp_path, 2, log, workload.strategy), tmp_path)
    finish(start_ranks([*command, "--ckpt_path=last"], tmp_path, 2, log, workload.strategy), log)
    assert_same_training(workload, whole_runs.folder(workload, 2), tmp_path)


@pytest.mark.slow
def test_begun_epoch_goes_on_with_another_number_of_processes(
    small: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """What two processes left of the epoch, one does; each utterance comes once, and the validation is not lost."""
    log = tmp_path / "log"
    command = SPEECH.command(small, processes=2)
    kill_in_second_epoch(SPEECH, start_ranks([*command, HOLD], tmp_path, 2, log), tmp_path)
    # Three steps of the second epoch are in the checkpoint; the fourth and fifth were lost with the processes.
    kept = []
    for rank in (0, 1):
        steps = [batch for split, epoch, batch in read_batches(tmp_path, rank) if (split, epoch) == ("train", 1)]
        assert len(steps) == 5
        kept += [index for batch in steps[:3] for index in batch]
        (tmp_path / f"{rank}.jsonl").unlink()
    finish([start([*command, "--ckpt_path=last"], tmp_path, log=log)], log)
    resumed = read_batches(tmp_path, 0)
    rest = [index for split, epoch, batch in resumed if (split, epoch) == ("train", 1) for index in batch]
    assert sorted(kept + rest) == list(range(14))
    assert sorted(
        index for split, epoch, batch in resumed if (split, epoch) == ("train", 2) for index in batch
    ) == list(range(14))
    for epoch in (1, 2):
        validated = [index for split, of, batch in resumed if (split, of) == ("val", epoch) for index in batch]
        assert sorted(validated) == list(range(6))
    assert torch.load(SPEECH.last(tmp_path), weights_only=True)["LibriSpeech"] == {"epoch": 3, "done": []}


def test_dynamic_batches_give_two_processes_each_utterance_once_an_epoch(whole_runs: Runs) -> None:
    ranks = [read_batches(whole_runs.folder(SPEECH, 2), rank) for rank in (0, 1)]
    assert [batch[:2] for batch in ranks[0]] == [batch[:2] for batch in ranks[1]]
    orders = set()
    for epoch in range(3):
        both = [[batch for split, of, batch in rank if (split, of) == ("train", epoch)] for rank in ranks]
        assert [len(steps) for steps in both] == [5, 5]
        assert sorted(itertools.chain(*both[0], *both[1])) == list(range(14))
        validated = [
            index for rank in ranks for split, of, batch in rank if (split, of) == ("val", epoch) for index in batch
        ]
        assert sorted(validated) == list(range(6))
        orders.add(str(both))
    assert len(orders) == 3


def test_rate_that_was_cut_at_the_end_of_an_epoch_is_in_its_checkpoint(whole_runs: Runs) -> None:
    folder = whole_runs.folder(CLASSIC)
    board = EventAccumulator(str(CLASSIC.run_folder(folder))).Reload()
    best, rate = float("inf"), 20.0
    for point in board.Scalars("val/loss"):
        rate, best = (rate, point.value) if point.value < best else (rate / 4, best)
    assert rate < 20  # the case has been met
    checkpoint = torch.load(CLASSIC.last(folder), weights_only=True)
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] == rate


@pytest.mark.parametrize("workload", [RESNET, MODERN], ids=lambda workload: workload.config)
def test_two_processes_see_each_sample_once_an_epoch_in_the_order_of_one_process(
    workload: Workload, whole_runs: Runs
) -> None:
    one = read_batches(whole_runs.folder(workload), 0)
    two = [read_batches(whole_runs.folder(workload, 2), rank) for rank in (0, 1)]
    assert len(one) == len(two[0]) == len(two[1]) == 3 * (5 + 3)
    for batch, *shares in zip(one, *two, strict=True):
        assert batch[:2] == shares[0][:2] == shares[1][:2]
        dealt = [index for pair in zip(shares[0][2], shares[1][2], strict=False) for index in pair]
        dealt += shares[0][2][len(shares[1][2]) :]
        assert dealt == batch[2]
    starts = set()
    for epoch in range(3):
        seen = [index for split, of, batch in one if (split, of) == ("train", epoch) for index in batch]
        validated = [index for split, of, batch in one if (split, of) == ("val", epoch) for index in batch]
        assert seen != sorted(seen)
        if workload is RESNET:
            assert sorted(seen) == list(range(80))
            assert validated == list(range(40))
        else:  # windows of eight words, side by side
            assert len(seen) == 20
            assert {b - a for a, b in itertools.pairwise(sorted(seen))} == {8}
            assert validated == list(range(6))
            starts.add(min(seen))
    assert len(starts) != 1  # the windows' borders move


def test_perplexity_over_two_processes_and_ragged_batches_is_that_of_all_tokens(
    whole_runs: Runs, wikitext2: Path
) -> None:
    folder = whole_runs.folder(MODERN, 2)
    checkpoint = torch.load(MODERN.last(folder), weights_only=True)
    ids = {word: i for i, word in enumerate(checkpoint["data_spec"]["labels"])}
    text = (wikitext2 / "valid.txt").read_text()
    tokens = [ids[word] for line in text.splitlines() for word in [*line.split(), "<eos>"]]
    assert len(tokens) == 45
    settings = checkpoint["configuration"]["model"]["init_args"]
    architecture = TransformerArchitecture(**settings["architecture"])
    network = CausalTransformer(settings["vocab_size"], architecture).eval()
    prefix = "network."
    network.load_state_dict(
        {name.removeprefix(prefix): v for name, v in checkpoint["state_dict"].items() if name.startswith(prefix)}
    )
    nats = 0.0
    for begin in range(0, 44, 8):
        read = torch.tensor(tokens[begin : begin + 9])
        logits = network.output(network(read[None, :-1]))[0].double()
        nats -= logits.log_softmax(1).gather(1, read[1:, None]).sum().item()
    board = EventAccumulator(str(MODERN.run_folder(folder))).Reload()
    assert board.Scalars("val/loss")[-1].value == pytest.approx(nats / 44, rel=1e-5)
    assert board.Scalars("val/perplexity")[-1].value == pytest.approx(math.exp(nats / 44), rel=1e-5)
    assert board.Scalars("val/bits_per_word")[-1].value == pytest.approx(nats / 44 / math.log(2), rel=1e-5)
