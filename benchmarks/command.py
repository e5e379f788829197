"""How a benchmark ends as a command: with its figures, or with one line that says why there are none."""

import sys
from collections.abc import Callable

from trainer.errors import InputError


def run_benchmark(main: Callable[[], None]) -> None:
    """Run a benchmark; bad input and Ctrl-C end it without a traceback."""
    try:
        main()
    except InputError as error:
        sys.exit(f"\nerror: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted: no figures.")
        sys.exit(130)
