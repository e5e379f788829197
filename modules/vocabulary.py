"""The vocabulary of a model: from the data, kept in the checkpoint, the same in both."""

import itertools
from typing import Any

from lightning.pytorch import Callback, LightningModule
from typing_extensions import override

from sextant.errors import InputError
from sextant.optimization import PlateauStep


class WithVocabulary(LightningModule):
    """A module that takes what its outputs stand for from the DataModule's ``vocabulary``, or from its checkpoint.

    So ``predict`` needs no training data. A module of this kind has a ``vocab_size``.
    """

    vocab_size: int
    #: What the outputs stand for, by number; empty until data or a checkpoint was read.
    vocabulary: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = []

    @override
    def setup(self, stage: str) -> None:
        """Take the vocabulary from the data.

        Raises:
            InputError: the data has a vocabulary of another size than the model.
        """
        self.vocabulary = list(getattr(self.trainer.datamodule, "vocabulary", []))  # type: ignore[attr-defined]
        if self.vocabulary and len(self.vocabulary) != self.vocab_size:
            raise InputError(
                f"model.vocab_size is {self.vocab_size:,}, but the data has a vocabulary of {len(self.vocabulary):,}. "
                f"Run with --model.vocab_size={len(self.vocabulary)}, or give other data with --data.root."
            )

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["vocabulary"] = self.vocabulary

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the vocabulary from the checkpoint where there is no data.

        Raises:
            InputError: the checkpoint was trained on another vocabulary than the data's.
        """
        trained = checkpoint.get("vocabulary", [])
        if self.vocabulary and trained and trained != self.vocabulary:
            pairs = itertools.zip_longest(trained, self.vocabulary)
            number, (old, new) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
            raise InputError(
                f"The checkpoint was trained on another vocabulary, of {len(trained):,}, than the data has, of "
                f"{len(self.vocabulary):,}: number {number} is {old!r} there and {new!r} here. Give the data it was "
                "trained on with --data.root."
            )
        self.vocabulary = self.vocabulary or trained

    @override
    def configure_callbacks(self) -> list[Callback]:
        return [PlateauStep()]

    def need_vocabulary(self) -> None:
        """Require that there is one.

        Raises:
            InputError: neither data nor a checkpoint was read.
        """
        if not self.vocabulary:
            raise InputError(
                "A model that was not trained knows no words. Give a checkpoint: --ckpt_path=best is the newest run's."
            )
