"""What all benchmarks share: variants that take turns, blocks of timed steps, processes of their own."""

import argparse
import logging
import multiprocessing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import numpy as np
import torch

T = TypeVar("T")


def positive(text: str) -> int:
    """An integer of 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def add_block_arguments(parser: argparse.ArgumentParser, steps: int, warmup: int, rounds: int) -> None:
    """Add ``--steps``, ``--warmup``, ``--rounds`` and ``--threads`` to a benchmark that times blocks of steps.

    Args:
        parser: of the benchmark.
        steps: default of the timed steps of a block.
        warmup: default of the steps before them.
        rounds: default of the blocks of each variant.
    """
    add = parser.add_argument
    add("--steps", type=positive, default=steps, help="timed steps of a block (default: %(default)s)")
    add("--warmup", type=positive, default=warmup, help="steps before them that are not timed (default: %(default)s)")
    add("--rounds", type=positive, default=rounds, help="blocks of each variant (default: %(default)s)")
    add(
        "--threads",
        type=positive,
        default=torch.get_num_threads(),
        help="processor threads of torch; 1 is steadiest on a CPU that others use too (default: all)",
    )


def steps_of_a_block(args: argparse.Namespace) -> int:
    """Those that warm up, those that are timed, and one that ends the last of them."""
    return args.warmup + args.steps + 1


def take_turns(
    variants: Sequence[str], rounds: int, measure: Callable[[str], T], show: Callable[[T], str]
) -> dict[str, list[T]]:
    """Measure each variant once a round, in an order that changes with the round.

    So all variants meet the same disturbances of the machine, and none is always the first.

    Args:
        variants: their names.
        rounds: how many times each is measured.
        measure: measures a variant.
        show: a measurement as text, for the line that is printed after each.

    Returns:
        The measurements of each variant, by round.
    """
    measured: dict[str, list[T]] = {variant: [] for variant in variants}
    width = max(map(len, variants))
    for done in range(rounds):
        turn = done % len(variants)
        for variant in (*variants[turn:], *variants[:turn]):
            measured[variant].append(measure(variant))
            print(f"round {done + 1} of {rounds}: {variant:{width}} {show(measured[variant][-1])}", flush=True)
    return measured


def median_seconds(block: np.ndarray) -> float:
    """The median wall time of the steps of a block, as :class:`benchmarks.steps.Clock` has them."""
    return float(np.median(block[:, 0]))


def milliseconds_per_step(block: np.ndarray) -> str:
    """The median step of a block as text."""
    return f"{1000 * median_seconds(block):9.2f} ms per step"


def ratios_by_round(measured: Mapping[str, Sequence[float]], variant: str, reference: str) -> np.ndarray:
    """A variant by the reference of the same round, float (rounds,)."""
    return np.divide(measured[variant], measured[reference])


def spread(values: Sequence[float] | np.ndarray, digits: int = 3) -> str:
    """The least and the most of some values as text."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def in_own_process(measure: Callable[..., T], *arguments: Any) -> T:
    """What a function returns in a new process, which has done nothing else: for peaks of memory.

    Raises:
        EOFError: the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    answer, end = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(end, measure, arguments))
    process.start()
    end.close()  # so that only the process holds it, and its end is heard
    try:
        result: T = answer.recv()
        return result
    finally:
        process.terminate()
        process.join()


def _answer(end: Connection, measure: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    end.send(measure(*arguments))


def quiet() -> None:
    """Keep off the terminal what a Trainer says about itself, once a block."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*[Pp]recision.*")


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C within a fit end the benchmark: Lightning makes an exit of it."""
    try:
        yield
    except SystemExit as stopped:
        raise KeyboardInterrupt from stopped


def named(root: object, synthetic: str) -> str:
    """What was read, for the first line of a benchmark.

    Args:
        root: folder of real data, or None.
        synthetic: what was made in its place.
    """
    return f"SYNTHETIC ({synthetic})" if root is None else f"real ({root})"
