"""What every workload does in two processes: by DDP, or with sharded tables where it has tables."""

import pytest

from tests.workloads.runs import Run, Runner

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def alone(longer: Runner) -> Run:
    """A run of one process."""
    return longer.whole()


@pytest.fixture(scope="session")
def strategy(alone: Run) -> str:
    """How the processes share the model: with sharded tables, unless Adam moves all their rows."""
    has_tables = any("embedding_bags." in name for name in alone.last["state_dict"])
    states = alone.last["optimizer_states"][0]["state"].items()
    has_adam = any("embedding_bags." in str(name) and "exp_avg" in state for name, state in states)
    return "TorchRecStrategy" if has_tables and not has_adam else "ddp"


def test_two_processes_see_together_what_one_sees(longer: Runner, alone: Run, strategy: str) -> None:
    both = longer.whole(2, strategy)
    for epoch in range(alone.epochs):
        assert both.samples("train", epoch) == alone.samples("train", epoch)
        assert both.samples("val", epoch) == alone.samples("val", epoch)


def test_what_two_processes_left_of_an_epoch_is_done_by_one(longer: Runner, alone: Run, strategy: str) -> None:
    killed = longer.killed(2, strategy)
    kept = killed.steps("train", 1)[:-2]  # the others were lost with the processes
    resumed = longer.resumed(killed)
    done = [index for step in (*kept, *resumed.steps("train", 1)) for index in step]
    assert sorted(done) == alone.samples("train", 1)
    assert resumed.samples("train", 2) == alone.samples("train", 2)
    for epoch in (1, 2):
        assert resumed.samples("val", epoch) == alone.samples("val", epoch)
