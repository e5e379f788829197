"""What every workload does in two processes: by DDP, or with sharded tables where it has tables."""

import pytest

from tests.workloads.runs import EPOCHS, Run, Runner, assert_same_training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def strategy(whole: Run) -> str:
    """How the processes share the model."""
    return "TorchRecStrategy" if any("embedding_bags." in name for name in whole.last["state_dict"]) else "ddp"


def test_two_processes_see_together_what_one_sees(whole: Run, runner: Runner, strategy: str) -> None:
    both = runner.whole(2, strategy)
    for epoch in range(EPOCHS):
        assert both.samples("train", epoch) == whole.samples("train", epoch)
        assert both.samples("val", epoch) == whole.samples("val", epoch)


def test_killed_run_ends_as_if_it_had_not_been_killed(runner: Runner, strategy: str) -> None:
    killed = runner.killed(2, strategy)
    assert_same_training(runner.whole(2, strategy), runner.resumed(killed, 2, strategy))


def test_what_two_processes_left_of_an_epoch_is_done_by_one(runner: Runner, whole: Run, strategy: str) -> None:
    killed = runner.killed(2, strategy)
    kept = killed.steps("train", 1)[:-2]  # the others were lost with the processes
    resumed = runner.resumed(killed)
    done = [index for step in (*kept, *resumed.steps("train", 1)) for index in step]
    assert sorted(done) == whole.samples("train", 1)
    assert resumed.samples("train", 2) == whole.samples("train", 2)
    for epoch in (1, 2):
        assert resumed.samples("val", epoch) == whole.samples("val", epoch)
