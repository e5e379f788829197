"""Text that a language model generates, in the log and on the terminal."""

from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from callbacks.validations import FirstValidationBatch
from sextant.contracts import require
from sextant.errors import InputError
from sextant.logs.drawing import draw_text


@runtime_checkable
class TextGenerator(Protocol):
    """A module that generates text, whose ``predict_step`` gives rows with ``text``."""

    def generate(self, prompt: str, seed: int) -> str:
        """Continue a prompt; the text begins with it."""


class GeneratedText(FirstValidationBatch):
    """Log generated text: after each validation, and in ``predict``, which has it on the terminal too.

    Args:
        prompts: of the texts of the validations; ``<eos>`` is the end of a line.

    Raises:
        InputError: a prompt is empty, or in ``setup``: the module is no :class:`TextGenerator`.
    """

    def __init__(self, prompts: list[str] | None = None) -> None:
        self.prompts = prompts or ["<eos>"]
        if not all(prompt.split() for prompt in self.prompts):
            raise InputError(f"GeneratedText.prompts are {self.prompts}; each needs a word. <eos> begins a new line.")

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        require(pl_module, TextGenerator, self)

    @override
    def show(self, trainer: Trainer, outputs: Any, batch: Any, step: int) -> None:
        if trainer.state.fn == "fit":
            module = require(trainer.lightning_module, TextGenerator, self)
            texts = [module.generate(prompt, seed) for seed, prompt in enumerate(self.prompts)]
            draw_texts(trainer, "val/text", texts, step)

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
        draw_texts(trainer, "predict/text", texts, batch_idx)


def draw_texts(trainer: Trainer, tag: str, texts: list[str], step: int) -> None:
    """Show texts one below the other, as they are."""
    draw_text(trainer, tag, "\n\n---\n\n".join(texts), step, preformatted=True)
