"""The real WikiText-2, where it is at hand."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.text.sources import SPLITS, TextFiles
from datamodules.text.token_stream import EOS, UNK, TokenStreams
from datamodules.text.windows import IGNORED
from datamodules.wikitext2 import WikiText2

PUBLISHED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "wikitext-2.zip"


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the real WikiText-2 is not in ../shared/data")
def test_published_text_has_its_published_counts_of_tokens_and_words(
    tmp_path: Path, make: Callable[..., WikiText2], cache: Path
) -> None:
    with zipfile.ZipFile(PUBLISHED) as archive:
        archive.extractall(tmp_path)
    root = tmp_path / "wikitext-2"
    data = make(root=str(root), batch_size=20, sequence_length=35, batching="columns")
    data.setup("fit")
    vocabulary = data.data_spec().labels
    assert len(vocabulary) == len(set(vocabulary)) == 33_278
    assert {EOS, UNK, "the", "@-@"} <= set(vocabulary)
    # The example's 104,431 rows in steps of 35.
    assert len(data.train_dataloader()) == 2984
    streams = TokenStreams(TextFiles(root), cache)
    counts = {split: len(streams.open(split)) for split in SPLITS}
    assert counts == {"train": 2_088_628, "val": 217_646, "test": 245_569}
    evaluated = make(root=str(root), eval_length=128, eval_stride=64, eval_batch_size=64)
    evaluated.setup("validate")
    predicted = sum(int((batch["target"] != IGNORED).sum()) for batch in evaluated.val_dataloader())
    assert predicted == counts["val"] - 1
