"""How a command ends: well, or with one line that says why not."""

import sys
from collections.abc import Callable

from sextant.errors import InputError


def run_command(main: Callable[[], object], interrupted: str) -> None:
    """Run a command; bad input and Ctrl-C end it without a traceback.

    Args:
        main: the command.
        interrupted: what Ctrl-C leaves, for the message.
    """
    try:
        main()
    except InputError as error:
        sys.exit(f"\nerror: {error}")
    except KeyboardInterrupt:
        print(f"\nInterrupted: {interrupted}.")
        sys.exit(130)
