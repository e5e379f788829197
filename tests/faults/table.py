"""The table of what faults did."""

from collections.abc import Callable, Sequence

from tests.faults.cases import Case, Training
from tests.faults.trial import Outcome, Struck

HEAD = ("tried", "resumed", "identical", "lost")

#: A fault with the training that it struck, and whether that ended as the undisturbed one.
Entry = tuple[Training, Struck, bool]


def table(tried: Sequence[tuple[Case, Outcome]]) -> str:
    """Rows of workloads, of how the processes share the model, and of kinds of faults, in Markdown.

    ``tried`` counts the faults that came before the run had ended, ``resumed`` those after which there was a checkpoint
    to go on from, ``identical`` those of runs that ended as the undisturbed one did, and ``lost`` the optimizer steps
    that had to be made again.
    """
    entries = [
        (case.training, struck, not outcome.wrong)
        for case, outcome in tried
        for struck in outcome.struck or [Struck(case.faults[0])] * bool(outcome.wrong)
    ]
    lines = [_row("", HEAD), "|---|" + "---:|" * len(HEAD)]
    lines += _rows(entries, lambda entry: entry[0].workload.name)
    lines += _rows(entries, lambda entry: entry[0].strategy or "one process")
    lines += _rows(entries, lambda entry: entry[1].fault.kind)
    lines.append(_row("**all**", _figures(entries)))
    return "\n".join(lines)


def _rows(entries: Sequence[Entry], name: Callable[[Entry], str]) -> list[str]:
    return [
        _row(each, _figures([entry for entry in entries if name(entry) == each]))
        for each in sorted({name(entry) for entry in entries})
    ]


def _figures(entries: Sequence[Entry]) -> list[str]:
    resumed, identical = sum(struck.resumed for _, struck, _ in entries), sum(same for *_, same in entries)
    return [str(figure) for figure in (len(entries), resumed, identical, sum(struck.lost for _, struck, _ in entries))]


def _row(name: str, figures: Sequence[str]) -> str:
    return f"| {' | '.join([name, *figures])} |"
