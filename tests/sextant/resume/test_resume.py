"""What resumed and shared runs hold beyond what every workload must (tests/workloads)."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modules.networks.transformer import CausalTransformer, TransformerArchitecture
from tests.recording import read_batches
from tests.workloads.runs import Run, Runner
from tests.workloads.workload import CONFIGS, Workload

MakeRunner = Callable[..., Runner]


@pytest.fixture(scope="module")
def runner(small: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> MakeRunner:
    """Make what runs a configuration with further arguments."""

    def make(name: str, *more: str) -> Runner:
        return Runner(Workload(CONFIGS / f"{name}.yaml"), [*small(name), *more], tmp_path_factory.mktemp(name))

    return make


def test_rate_that_was_cut_at_the_end_of_an_epoch_is_in_its_checkpoint(runner: MakeRunner) -> None:
    """Lightning steps a schedule that watches validation after the checkpoint of an epoch's end is written."""
    run = runner("transformer_wikitext2_baseline", "--data.sequence_length=9", "--model.optimizer.lr=20").whole()
    best, rate = float("inf"), 20.0
    for _, loss in run.scalars()["val/loss"]:
        rate, best = (rate, loss) if loss < best else (rate / 4, best)
    assert rate < 20  # the case has been met
    assert run.last["optimizer_states"][0]["param_groups"][0]["lr"] == rate


@pytest.fixture(scope="module")
def transformer(runner: MakeRunner) -> Runner:
    """What runs the language model."""
    return runner("transformer_wikitext2")


def assert_distributed_in_turn(one: Run, two: Run, steps: int) -> None:
    """Each step of two processes, of so many an epoch, has the samples of one process's, distributed in turn."""
    whole = read_batches(one.record, 0)
    parts = [read_batches(two.record, rank) for rank in (0, 1)]
    assert len(whole) == len(parts[0]) == len(parts[1]) == one.epochs * steps
    for batch, first, second in zip(whole, *parts, strict=True):
        assert batch[:2] == first[:2] == second[:2]
        assert [index for pair in zip(first[2], second[2], strict=False) for index in pair] == batch[2][
            : 2 * len(second[2])
        ]
        assert first[2][len(second[2]) :] == batch[2][2 * len(second[2]) :]


@pytest.mark.slow
def test_two_processes_see_images_in_the_order_of_one_process(runner: MakeRunner) -> None:
    resnet = runner("resnet_tiny_imagenet")
    assert_distributed_in_turn(resnet.whole(), resnet.whole(2), steps=3 + 2)
    assert resnet.whole().samples("train", 0) == list(range(40))
    assert resnet.whole().samples("val", 0) == list(range(20))


@pytest.mark.slow
def test_two_processes_see_windows_of_text_in_the_order_of_one_process(transformer: Runner) -> None:
    whole = transformer.whole()
    assert_distributed_in_turn(whole, transformer.whole(2), steps=5 + 3)
    assert len({whole.samples("train", epoch)[0] for epoch in range(whole.epochs)}) != 1  # the windows' borders move


@pytest.mark.slow
def test_perplexity_over_two_processes_and_ragged_batches_is_that_of_all_tokens(
    transformer: Runner, wikitext2: Path
) -> None:
    run = transformer.whole(2)
    checkpoint = run.last
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
    measured = {name: points[-1][1] for name, points in run.scalars().items()}
    assert measured["val/loss"] == pytest.approx(nats / 44, rel=1e-5)
    assert measured["val/perplexity"] == pytest.approx(math.exp(nats / 44), rel=1e-5)
    assert measured["val/bits_per_word"] == pytest.approx(nats / 44 / math.log(2), rel=1e-5)
