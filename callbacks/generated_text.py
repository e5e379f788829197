"""Show text that a language model writes."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

from callbacks.epoch_axis import validation_axis
from trainer.errors import InputError


class GeneratedText(Callback):
    """Write text to TensorBoard after each validation, and what ``predict`` writes to TensorBoard and the terminal.

    Needs a module with ``write`` (a prompt and a seed to a text), whose ``predict_step`` gives rows with ``text``.

    Args:
        prompts: what the texts of the validations begin with; ``<eos>`` is the end of a line.

    Raises:
        InputError: a prompt is empty.
    """

    def __init__(self, prompts: list[str] | None = None) -> None:
        self.prompts = prompts or ["<eos>"]
        if not all(prompt.split() for prompt in self.prompts):
            raise InputError(f"GeneratedText.prompts are {self.prompts}; each needs a word. <eos> begins a new line.")

    # Within the validation, where a callback that averages the weights has put the average in.
    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx or trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        texts = [pl_module.write(prompt, seed) for seed, prompt in enumerate(self.prompts)]  # type: ignore[operator]
        self._show(trainer, "val/text", texts, validation_axis(trainer))

    @override
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        texts = [row["text"] for row in outputs]
        for text in texts:
            print(f"\n{text}\n")
        self._show(trainer, "predict/text", texts, batch_idx)

    @staticmethod
    def _show(trainer: Trainer, tag: str, texts: list[str], step: int) -> None:
        if trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
            # The board reads Markdown, in which four spaces at the start of a line keep text as it is.
            block = "\n\n---\n\n".join("    " + text.replace("\n", "\n    ") for text in texts)
            trainer.logger.experiment.add_text(tag, block, step)
