"""Whether memory, open files and speed stay as they are while a workload trains for long.

Run it from the project's folder: ``python -m benchmarks.soak --help``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from benchmarks.machine import describe
from benchmarks.steps import CONFIGS
from sextant.cli.command import run_command
from sextant.errors import InputError

PROJECT = CONFIGS.parent
WORKLOADS = tuple(sorted(path.stem for path in (CONFIGS / "synthetic").glob("*.yaml")))
SECONDS_BETWEEN_SAMPLES = 5.0
STARTED_UP = 0.2  # of the time: what is compared with the end comes after it


@dataclass
class Course:
    """What a run took, at moments of it.

    Args:
        time: seconds since the epoch of Unix, float (N,).
        memory: what its processes hold in memory, in MB, float (N,).
        files: how many files they have open, int (N,).
        processor: seconds of processor time that they have used so far, float (N,).
        logged: times and steps of the log, float (M, 2).
    """

    time: list[float]
    memory: list[float]
    files: list[int]
    processor: list[float]
    logged: list[tuple[float, float]]


def processes_of(root: int) -> list[int]:
    """The numbers of a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def sample(root: int) -> tuple[float, int, float]:
    """Memory in MB, open files, and seconds of processor time of a process and those that descend from it."""
    memory, files, processor = 0.0, 0, 0.0
    for process in processes_of(root):
        folder = Path("/proc") / str(process)
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            files += len(os.listdir(folder / "fd"))
        except OSError:
            continue
        processor += sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
        memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return memory, files, processor


def train(workload: str, minutes: float, folder: Path, settings: Sequence[str]) -> Course:
    """Train a workload on its generated data for some minutes, and watch it.

    Raises:
        InputError: it ended before.
    """
    shape = [CONFIGS / f"{workload}.yaml", CONFIGS / "synthetic" / f"{workload}.yaml"]
    command = [sys.executable, str(PROJECT / "train.py"), "fit", *(f"--config={path}" for path in shape)]
    command += ["--trainer.max_epochs=1000000", f"--stop_after={round(minutes * 60)}s", *settings]
    command += [f"--trainer.logger.init_args.save_dir={folder}", "--trainer.enable_progress_bar=false"]
    output = folder / f"{workload}.txt"
    course = Course([], [], [], [], [])
    with output.open("w") as file, tqdm(total=round(minutes * 60), desc=workload, unit="s") as bar:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
        try:
            while process.poll() is None:
                memory, files, processor = sample(process.pid)
                if not files:  # it has just ended
                    continue
                course.time.append(time.time())
                course.memory.append(memory)
                course.files.append(files)
                course.processor.append(processor)
                bar.update(round(course.time[-1] - course.time[0]) - bar.n)
                time.sleep(SECONDS_BETWEEN_SAMPLES)
        finally:
            process.terminate()
            process.wait()
    if process.returncode != 128 + 10:  # as --stop_after ends
        raise InputError(f"{workload} ended with {process.returncode}: {output.read_text()[-2000:]}")
    course.logged = logged_steps(folder)
    return course


def logged_steps(folder: Path) -> list[tuple[float, float]]:
    """Times and steps of the points that the newest run below a folder logged while it trained."""
    newest = max(folder.rglob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    events = EventAccumulator(str(newest), size_guidance={"scalars": 0}).Reload()
    return [(event.wall_time, float(event.step)) for event in events.Scalars("throughput/data_wait")]


def cost_of_steps(course: Course) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minutes of a run, and the milliseconds of processor time that a step took in the minute before.

    All that a run does is in it, validation and checkpoints too. Other programs on the machine hardly change it.
    """
    times, steps = np.array(course.logged).T
    grid = np.arange(times[0], times[-1], 60.0)
    reached = np.interp(grid, times, steps)
    used = np.interp(grid, course.time, course.processor)
    return (grid[1:] - course.time[0]) / 60, np.diff(used) / np.diff(reached).clip(min=1) * 1000


def grown(values: NDArray[np.float64], times: NDArray[np.float64]) -> tuple[float, float]:
    """Medians of the first and of the last fifth of the time after the start-up."""
    start = times[0] + STARTED_UP * (times[-1] - times[0])
    fifth = (times[-1] - start) / 5
    first, last = values[(times >= start) & (times < start + fifth)], values[times > times[-1] - fifth]
    return float(np.median(first)), float(np.median(last))


def table(courses: dict[str, Course]) -> str:
    """What each run took after its start-up, and at its end."""
    lines = [
        "| workload | minutes | steps | memory, MB | open files | processor time per step, ms |",
        "|---|---|---|---|---|---|",
    ]
    for workload, course in courses.items():
        times = np.array(course.time)
        minutes, cost = cost_of_steps(course)
        memory = "{:.0f} -> {:.0f}".format(*grown(np.array(course.memory), times))
        files = "{:.0f} -> {:.0f}".format(*grown(np.array(course.files, dtype=float), times))
        spent = "{:.1f} -> {:.1f}".format(*grown(cost, minutes))
        length = (times[-1] - times[0]) / 60
        lines.append(f"| {workload} | {length:.0f} | {course.logged[-1][1]:,.0f} | {memory} | {files} | {spent} |")
    return "\n".join(lines)


def draw(courses: dict[str, Course], path: Path) -> None:
    """Draw memory, open files and processor time per step of all runs over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    memory, files, cost = figure.subplots(3, 1, sharex=True)
    for workload, course in courses.items():
        times = (np.array(course.time) - course.time[0]) / 60
        minutes, spent = cost_of_steps(course)
        memory.plot(times, course.memory, label=workload)
        files.plot(times, course.files)
        cost.plot(minutes, spent)
    titles = ("resident memory, MB", "open files", "processor time per step, ms")
    for axes, title in zip((memory, files, cost), titles, strict=True):
        axes.set_ylabel(title)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    cost.set_ylim(bottom=1)
    cost.set_yscale("log")
    cost.set_xlabel("minutes")
    memory.legend(fontsize=7, ncols=3)
    figure.savefig(path, dpi=100)


def hours(text: str) -> float:
    """A time of a minute or more for each workload, for argparse."""
    number = float(text)
    if not number * 60 >= len(WORKLOADS):
        raise argparse.ArgumentTypeError(f"{text} is less than a minute for each workload")
    return number


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Trains the workloads on their generated data one after the other, and draws resident memory, open "
        "files and processor time per step.",
    )
    parser.add_argument("--hours", type=hours, default=2.0, help="of all workloads together (default 2)")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS, metavar="WORKLOAD")
    parser.add_argument(
        "--image", type=Path, required=True, help="where the plot goes; its figures are beside it (.json)"
    )
    parser.add_argument("settings", nargs="*", help="settings for train.py, after --")
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> None:
    """Train, watch and draw."""
    options = parse(args)
    courses: dict[str, Course] = {}
    with tempfile.TemporaryDirectory() as folder:
        for workload in options.workloads:
            place = Path(folder) / workload
            place.mkdir()
            minutes = options.hours * 60 / len(options.workloads)
            courses[workload] = train(workload, minutes, place, options.settings)
    figures = {workload: asdict(course) for workload, course in courses.items()}
    options.image.with_suffix(".json").write_text(json.dumps(figures))
    draw(courses, options.image)
    print(describe("SYNTHETIC, as configs/synthetic has it"))
    print(table(courses))


if __name__ == "__main__":
    run_command(main, "nothing was written")
