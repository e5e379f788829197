"""Generated text is shown as it is."""

import pytest

from callbacks.generated_text import GeneratedText, add_text
from sextant.errors import InputError


class Writer:
    """Keeps what TensorBoard would be given."""

    def add_text(self, tag: str, text: str, step: int) -> None:
        self.added = tag, text, step


def test_lines_of_all_texts_are_kept_from_being_read_as_markdown() -> None:
    writer = Writer()
    add_text(writer, "val/text", ["a *b*\n# c", "d"], 3)
    assert writer.added == ("val/text", "    a *b*\n    # c\n\n---\n\n    d", 3)


def test_text_of_validations_needs_a_prompt() -> None:
    with pytest.raises(InputError, match="each needs a word"):
        GeneratedText(prompts=["word1", " "])
