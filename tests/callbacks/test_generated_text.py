"""The settings of generated text."""

import pytest

from callbacks.generated_text import GeneratedText
from sextant.errors import InputError


def test_text_of_validations_needs_a_prompt() -> None:
    with pytest.raises(InputError, match="each needs a word"):
        GeneratedText(prompts=["word1", " "])
