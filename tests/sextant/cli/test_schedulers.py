"""The scripts in ``docs/examples`` for schedulers: a job that is stopped, or loses a process, ends as if it had not."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.launch import finish, start_ranks
from tests.sextant.tiny import ARGUMENTS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "docs" / "examples"
TIMEOUT = 400  # seconds
#: Twelve steps, of which every second one is saved.
FIT = [*ARGUMENTS, "--trainer.max_epochs=6", "--recovery_checkpoint.every_n_steps=2"]
HOLD_AT = 7

UV = f"""#!/bin/sh
shift  # run
PATH={Path(sys.executable).parent}:$PATH exec "$@"
"""

# As slurmd does, it sends the signal of --signal to all tasks, and gives back the largest of their exit codes.
SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys
tasks = [
    subprocess.Popen(sys.argv[1:], env=os.environ | {{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}})
    for rank in range(int(os.environ["SLURM_NTASKS"]))
]
signal.signal(signal.SIGUSR1, lambda number, frame: [task.send_signal(number) for task in tasks])
open("srun.pid", "w").write(str(os.getpid()))
codes = [task.wait() for task in tasks]
sys.exit(max(128 - code if code < 0 else code for code in codes))
"""

SCONTROL = """#!/bin/sh
echo "$@" >> requeued
"""

# The batch script gets no signal of its own: --signal without B: is for the tasks.
SBATCH = """#!/bin/sh
tasks=$(sed -n 's/^#SBATCH --ntasks-per-node=//p' "$1")
nodes=$(sed -n 's/^#SBATCH --nodes=//p' "$1")
grep -q '^#SBATCH --signal=USR1@' "$1" && grep -q '^#SBATCH --requeue' "$1" || exit 3
SLURM_JOB_ID=4711 SLURM_JOB_NAME=job SLURM_NODEID=0 SLURM_NNODES=$nodes SLURM_NTASKS_PER_NODE=$tasks \\
    SLURM_NTASKS=$((nodes * tasks)) exec bash "$@"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a script finds: the programs of this environment, and those of a cluster in this machine's stead."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"uv": UV, "srun": SRUN, "scontrol": SCONTROL, "sbatch": SBATCH}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    return os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Where the processes write what they were fed, and wait for the file ``go`` before a step."""
    folder = tmp_path / "record"
    folder.mkdir()
    return folder


def holding(record: Path) -> list[str]:
    callback = "--trainer.callbacks+=tests.recording.RecordBatches"
    return [callback, f"--trainer.callbacks.folder={record}", f"--trainer.callbacks.hold_at={HOLD_AT}"]


def start(script: str, arguments: list[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([*script.split(), *arguments], cwd=folder, env=environment, stdout=log, stderr=log)


def wait_until(what: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not what():
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.1)


def all_hold(record: Path, ranks: int) -> bool:
    files = [record / f"{rank}.jsonl" for rank in range(ranks)]
    return all(file.exists() and file.read_text().count('["train"') == HOLD_AT + 1 for file in files)


def assert_ends_like_an_undisturbed_run(folder: Path, ranks: int) -> None:
    """The weights and the state of the optimizer are those of as many processes that nothing has disturbed."""
    whole = folder / "whole"
    whole.mkdir()
    finish(start_ranks(["fit", *FIT], whole, ranks, folder / "whole.log"), folder / "whole.log")
    expected, found = (
        AtomicCheckpointIO().load_checkpoint(run / "logs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt")
        for run in (whole, folder)
    )
    assert expected["global_step"] == found["global_step"] == 12
    for name, value in expected["state_dict"].items():
        assert torch.equal(value, found["state_dict"][name]), name
    assert expected["optimizer_states"] == found["optimizer_states"]
    assert [run.name for run in (folder / "logs" / "tiny").iterdir()] == ["version_0"]


def test_run_of_two_nodes_goes_on_where_torchrun_starts_lost_processes_again(
    tmp_path: Path, environment: dict[str, str], record: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        head = f"localhost:{free.getsockname()[1]}"
    arguments = [*FIT, *holding(record)]
    nodes = [start(str(EXAMPLES / "torchrun.sh"), arguments, tmp_path, environment | {"HEAD": head}) for _ in range(2)]
    wait_until(lambda: all_hold(record, 4), tmp_path)
    os.kill(worker_of(nodes[1]), signal.SIGKILL)
    (record / "go").touch()
    for node in nodes:
        assert node.wait(TIMEOUT) == 0, (tmp_path / "log").read_text()
    assert_ends_like_an_undisturbed_run(tmp_path, 4)


def worker_of(agent: subprocess.Popen[bytes]) -> int:
    """One of the processes that an agent of torchrun has started."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    return next(int(pid) for pid in children if b"train.py" in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_job_is_requeued_before_its_time_is_up_and_goes_on(
    tmp_path: Path, environment: dict[str, str], record: Path
) -> None:
    sbatch, requeued = f"sbatch {EXAMPLES / 'slurm.sh'}", tmp_path / "requeued"
    job = start(sbatch, [*FIT, *holding(record)], tmp_path, environment)
    wait_until(lambda: all_hold(record, 2), tmp_path)
    os.kill(int((tmp_path / "srun.pid").read_text()), signal.SIGUSR1)
    (record / "go").touch()
    assert job.wait(TIMEOUT) == 138, (tmp_path / "log").read_text()
    assert requeued.read_text() == "requeue 4711\n"
    said = re.search(r"Stopped by SIGUSR1 after (\d+) steps", (tmp_path / "log").read_text())
    assert said is not None
    assert HOLD_AT < int(said[1]) < 12
    again = start(sbatch, [*FIT, *holding(record)], tmp_path, environment)
    assert again.wait(TIMEOUT) == 0, (tmp_path / "log").read_text()
    assert_ends_like_an_undisturbed_run(tmp_path, 2)

    wrong = start(sbatch, [*FIT, "--model.width=none"], tmp_path, environment)
    assert wrong.wait(TIMEOUT) not in (0, 138)
    assert requeued.read_text() == "requeue 4711\n"  # once: another error would come again
