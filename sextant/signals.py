"""Signals that ask a run to end. Imports nothing but the standard library: it is there before all else."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

#: Ctrl-C; what schedulers send before they kill; a closed terminal; what SLURM is told to send before the time is up.
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

#: Seconds in which the same request may come more than once: from the terminal or the scheduler, and once more from
#: torchrun or uv, which pass on what they get.
REPEATED = 1.0


class Stopped(BaseException):
    """The end of a command that a signal asked for.

    Args:
        number: of the signal.
        message: for the user: what was saved; None where another process of the run says it.
    """

    def __init__(self, number: int, message: str | None = "") -> None:
        super().__init__(message)
        self.message = message
        #: Of this process, as shells have it.
        self.exit_code = 128 + number


class Signals:
    """What this process does on a signal: it ends at once, or keeps it in mind until the run can end.

    A handler raises :class:`Stopped`, or notes the number; a second signal always raises. A signal that this process
    was told to ignore, as by ``nohup``, stays ignored.
    """

    def __init__(self) -> None:
        #: Whether a signal is noted, since ending at once would lose something, or leave other processes waiting.
        self.noting = False
        #: The number of the signal that was noted; 0 for none.
        self.noted = 0
        self._noted_at = 0.0
        self._previous: dict[int, Any] = {}

    def take(self, noting: bool) -> Callable[[], None]:
        """Handle signals from now on, if this is the main thread.

        Args:
            noting: whether they are noted.

        Returns:
            What brings back how it was before.
        """
        before, taken = self.noting, bool(self._previous)
        self.noting = noting
        if not taken and threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)

        def give_back() -> None:
            self.noting = before
            if not taken:
                for number, handler in self._previous.items():
                    signal.signal(number, handler)
                self._previous = {}
                self.noted = 0

        return give_back

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.noting and not self.noted:
            self.noted = number
            self._noted_at = time.monotonic()
        elif not self.noted or time.monotonic() - self._noted_at > REPEATED:
            raise Stopped(number)


#: Those of this process: it has one handler for each signal.
SIGNALS = Signals()
