"""How a command ends: well, or with one message that says why not."""

import errno
import os
import signal
import sys
from collections.abc import Callable

from sextant.errors import InputError
from sextant.signals import SIGNALS, Stopped


def run_command(main: Callable[[], object], interrupted: str) -> None:
    """Run a command; bad input, a full disk and signals end it without a traceback.

    The exit code is 1 for bad input or a full disk, and 128 plus the number of the signal: 130 for Ctrl-C, 143 for
    SIGTERM.

    Args:
        main: the command, which imports what takes long: signals are handled from here on.
        interrupted: what a signal leaves, for the message, where the command does not say it itself.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # processes, of which none may end alone
    give_back = SIGNALS.take(noting=several)
    try:
        main()
    except InputError as error:
        sys.exit(f"\nerror: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(f"\nerror: {error}. Free some space and run again.")
    except (Stopped, KeyboardInterrupt) as error:  # the latter from where others handle Ctrl-C
        stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
        if stopped.message is not None:
            print(f"\n{stopped.message or f'Interrupted: {interrupted}.'}")
        sys.exit(stopped.exit_code)
    finally:
        give_back()
