"""How a command ends: well, or with one message that says why not."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable

from sextant.errors import InputError, RemoteError
from sextant.signals import SIGNALS, Stopped


def run_command(main: Callable[[], object], interrupted: str) -> None:
    """Run a command; bad input, a full disk, a lost object store and signals end it without a traceback.

    With ``--debug`` among its arguments the traceback of an error comes before its message. The exit code is 1 for the
    first three, and 128 plus the number of the signal: 130 for Ctrl-C, 143 for
    SIGTERM.

    Args:
        main: the command, which imports what takes long: signals are handled from here on.
        interrupted: what a signal leaves, for the message, where the command does not say it itself.
    """
    # Of several processes, of torchrun or SLURM, none may end alone.
    several = any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))
    give_back = SIGNALS.take(noting=several)
    if not sys.stderr.isatty():  # tqdm, which reads this when it is imported, would write ten times a second
        os.environ.setdefault("TQDM_MININTERVAL", "10")
    debug = "--debug" in sys.argv[1:]
    if debug:
        sys.argv.remove("--debug")
    try:
        main()
    except (InputError, RemoteError) as error:
        if debug:
            traceback.print_exc()
        sys.exit(f"\nerror: {error}")
    except BrokenPipeError:  # who reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where what is left goes
        sys.exit(1)
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
