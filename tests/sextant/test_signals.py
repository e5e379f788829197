"""A signal ends a process at once, or is noted until the run can end."""

import os
import signal
from collections.abc import Iterator

import pytest

from sextant import signals
from sextant.signals import NUMBERS, Signals, Stopped

pytestmark = pytest.mark.usefixtures("usual_signals")


@pytest.fixture
def own() -> Iterator[Signals]:
    """Handlers of this test alone."""
    before = [signal.getsignal(number) for number in NUMBERS]
    yield Signals()
    assert [signal.getsignal(number) for number in NUMBERS] == before


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_signal_ends_what_is_under_way_with_the_code_of_a_shell(own: Signals, number: int) -> None:
    give_back = own.take(noting=False)
    with pytest.raises(Stopped) as stopped:
        send(number)
    give_back()
    assert stopped.value.exit_code == 128 + number


@pytest.mark.parametrize("number", NUMBERS)
def test_noted_signal_ends_nothing_and_the_second_one_does(
    own: Signals, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_back = own.take(noting=True)
    send(number)
    assert own.noted == number
    send(number)  # which torchrun or uv pass on
    monkeypatch.setattr(signals, "REPEATED", 0.0)
    with pytest.raises(Stopped):
        send(signal.SIGTERM)
    assert own.noted == number
    give_back()
    assert own.noted == 0


def test_handlers_that_were_taken_twice_are_given_back_in_turn(own: Signals) -> None:
    outer = own.take(noting=False)
    inner = own.take(noting=True)
    send(signal.SIGHUP)
    inner()
    assert (own.noting, own.noted) == (False, signal.SIGHUP)
    outer()


def test_ignored_signal_stays_ignored(own: Signals) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    give_back = own.take(noting=False)
    send(signal.SIGHUP)
    give_back()
    signal.signal(signal.SIGHUP, before)
