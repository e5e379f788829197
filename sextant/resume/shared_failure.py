"""The failure of one process, at which the others end too, and leave it to that one to say why."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import ParallelStrategy
from torch.distributed import TCPStore
from typing_extensions import override

from sextant.contracts import Observer
from sextant.errors import lost_process
from sextant.signals import Stopped

FAILED = "failed"
LISTENS = 0.5  # seconds after which a process asks whether another one has failed
CONNECTS = timedelta(seconds=30)  # that a process tries to reach the first one
LEAVES = 10.0  # seconds that it has then to end by itself, which it cannot while it waits for the other one


class SharedFailure(Observer):
    """Lets all processes of a run end at once when one of them fails, with one message.

    A process that fails tells the others before it ends, and they say nothing; one that waits for the failed one, as
    it may on GPUs until a timeout, is ended. A process that is killed tells nobody: the others say that it was lost.
    """

    def __init__(self) -> None:
        self._store: TCPStore | None = None
        self._heard = threading.Event()
        self._ends = threading.Event()  # nobody has to end this process any more

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        strategy = trainer.strategy
        if self._store is not None or trainer.world_size == 1 or not isinstance(strategy, ParallelStrategy):
            return
        assert strategy.cluster_environment is not None
        host = strategy.cluster_environment.main_address
        if trainer.is_global_zero:
            self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
        port = strategy.broadcast(self._store.port if self._store is not None else 0)
        try:
            self._store = self._store or TCPStore(host, port, is_master=False, timeout=CONNECTS)
        except RuntimeError:  # a network that does not let it through is no reason to fail
            return
        threading.Thread(target=self._listen, args=(self._store,), daemon=True).start()

    def _listen(self, store: TCPStore) -> None:
        try:
            while not store.check([FAILED]):
                if self._ends.wait(LISTENS):
                    return
        except RuntimeError:  # the first process, which keeps the store, is gone
            return
        self._heard.set()
        if not self._ends.wait(LEAVES):
            os._exit(1)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._store is None or isinstance(exception, Stopped | KeyboardInterrupt):  # on which all have agreed
            return
        if lost_process(exception, trainer.global_rank) is not None:
            self._heard.wait(2 * LISTENS)
        elif not self._heard.is_set():
            own = str(trainer.global_rank)
            try:
                first = self._store.compare_set(FAILED, "", own)
            except RuntimeError:  # the process that keeps the store is gone, too
                return
            if first.decode() != own:  # another one has failed at the same time
                self._heard.set()
                return
            self._ends.set()
            time.sleep(2 * LISTENS)  # the others hear of it, before they lose this process

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._ends.set()

    @contextmanager
    def said_once(self, trainer: Trainer) -> Generator[None, None, None]:
        """Run what may fail.

        Args:
            trainer: of the run.

        Raises:
            SystemExit: another process has failed, and says why.
            InputError: another process was lost.
        """
        try:
            yield
        except Exception as error:
            if self._heard.is_set() and not self._ends.is_set():
                raise SystemExit(1) from None
            if trainer.world_size > 1 and (lost := lost_process(error, trainer.global_rank)):
                raise lost from error
            raise
