"""How a command ends."""

import errno
import os
import signal
import sys

import pytest

from sextant.cli.command import run_command
from sextant.errors import InputError

pytestmark = pytest.mark.usefixtures("usual_signals")


def raising(error: BaseException) -> None:
    raise error


def test_bad_input_ends_a_command_with_its_message_alone() -> None:
    with pytest.raises(SystemExit, match=r"^\nerror: a\.txt: empty$"):
        run_command(lambda: raising(InputError("a.txt: empty")), "nothing")


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "No space left on device"), (errno.EDQUOT, ".*quota.*")])
def test_full_disk_or_quota_ends_a_command_with_one_line(number: int, reason: str) -> None:
    with pytest.raises(SystemExit, match=rf"(?i)error: .*{reason}: 'a\.txt'\. Free some space"):
        run_command(lambda: raising(OSError(number, os.strerror(number), "a.txt")), "nothing")


def test_other_error_of_the_system_keeps_its_traceback() -> None:
    with pytest.raises(PermissionError):
        run_command(lambda: raising(PermissionError(errno.EPERM, "no")), "nothing")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signal_ends_a_command_as_a_shell_expects(capsys: pytest.CaptureFixture[str], number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end:
        run_command(lambda: os.kill(os.getpid(), number), "what was finished is whole")
    assert end.value.code == 128 + number
    assert capsys.readouterr().out == "\nInterrupted: what was finished is whole.\n"
    assert signal.getsignal(number) == before


def test_ctrl_c_that_somebody_else_handles_ends_a_command_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(lambda: raising(KeyboardInterrupt()), "what was finished is whole")
    assert end.value.code == 130
    assert capsys.readouterr().out == "\nInterrupted: what was finished is whole.\n"


def test_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As nohup has it for SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run_command(lambda: os.kill(os.getpid(), signal.SIGHUP), "nothing")
    finally:
        signal.signal(signal.SIGHUP, before)


def test_one_of_several_processes_does_not_end_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    run_command(lambda: os.kill(os.getpid(), signal.SIGTERM), "nothing")


def test_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0, "nothing")


@pytest.mark.parametrize("debug", [False, True])
def test_traceback_of_a_mistake_is_shown_to_who_asks_for_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "fit", *["--debug"] * debug])
    with pytest.raises(SystemExit, match=r"^\nerror: a\.txt: empty$"):
        run_command(lambda: raising(InputError("a.txt: empty")), "nothing")
    assert ("Traceback" in capsys.readouterr().err) == debug
    assert sys.argv == ["train.py", "fit"]
