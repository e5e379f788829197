"""How a command ends."""

import pytest

from sextant.cli.command import run_command
from sextant.errors import InputError


def raising(error: BaseException) -> None:
    raise error


def test_bad_input_ends_a_command_with_its_message_alone() -> None:
    with pytest.raises(SystemExit, match=r"^\nerror: a\.txt: empty$"):
        run_command(lambda: raising(InputError("a.txt: empty")), "nothing")


def test_ctrl_c_ends_a_command_as_a_shell_expects(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(lambda: raising(KeyboardInterrupt()), "what was finished is whole")
    assert end.value.code == 130
    assert "Interrupted: what was finished is whole." in capsys.readouterr().out


def test_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0, "nothing")
