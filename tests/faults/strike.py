"""A callback that keeps count of the moments of a run, and strikes at one of them."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.contracts import Observer

#: The variable of the environment that says where to write and what to do: the command is the same with and without.
VARIABLE = "SEXTANT_STRIKE"
#: The suffix of the file that says what the process has imported.
MODULES = ".modules"


@dataclass(frozen=True)
class Order:
    """What a run is told.

    Args:
        folder: where each process appends what it comes by, one word a line, to the file of its rank.
        moment: at which to strike.
        count: of the moments of that kind.
        number: of the signal.
        everyone: whether all processes of the run get it.
        rank: of the process that counts and strikes.
    """

    folder: str
    moment: str = ""
    count: int = 0
    number: int = 0
    everyone: bool = False
    rank: int = 0

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(vars(self))}


class Strike(Observer):
    """Notes each moment of the run, and sends a signal at that which the environment names."""

    def __init__(self) -> None:
        self._order = Order(**json.loads(os.environ[VARIABLE]))
        self._rank = int(os.environ.get("LOCAL_RANK", "0"))
        self._file = Path(self._order.folder) / str(self._rank)
        self._counts: dict[str, int] = {}
        self._steps = 0
        sys.addaudithook(self._audit)  # the library is not asked when it renames what

    def _note(self, word: str) -> None:
        with self._file.open("a") as file:
            file.write(f"{word}\n")

    def _reach(self, moment: str) -> None:
        self._note(moment)
        self._counts[moment] = self._counts.get(moment, 0) + 1
        order = self._order
        if (moment, self._counts[moment], self._rank) == (order.moment, order.count, order.rank):
            self._note("struck")
            if order.everyone:
                os.killpg(0, order.number)
            else:
                os.kill(os.getpid(), order.number)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and ".ckpt" in Path(os.fsdecode(arguments[1])).name:
            self._reach("before a rename")

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._steps = trainer.global_step
        self._note(f"began at {self._steps}")

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._reach("between steps")

    @override
    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reach("in a step")

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step != self._steps:
            self._steps = trainer.global_step
            self._note(f"made {self._steps}")

    @override
    def on_validation_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if not trainer.sanity_checking:
            self._reach("in a validation")

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reach("end of an epoch")

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._file.with_suffix(MODULES).write_text("\n".join(sys.modules))


class Notes:
    """What a run has noted.

    Args:
        folder: of the order.
        rank: of the process.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        file = folder / str(rank)
        modules = file.with_suffix(MODULES)
        #: That were imported, of a run that has ended well.
        self.modules = modules.read_text().splitlines() if modules.exists() else []
        self.words = file.read_text().splitlines() if file.exists() else []

    def count(self, word: str) -> int:
        return self.words.count(word)

    @property
    def struck(self) -> bool:
        return "struck" in self.words

    @property
    def began_at(self) -> int | None:
        """The optimizer steps that were made before training began; None if it did not begin."""
        return next((int(word.split()[-1]) for word in self.words if word.startswith("began at")), None)

    @property
    def made(self) -> int:
        """The optimizer steps that the run had when it ended."""
        return max((int(word.split()[-1]) for word in self.words if word.startswith("made")), default=0)
