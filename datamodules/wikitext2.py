"""WikiText-2 as token ids, or any other plain-text corpus."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from typing_extensions import override

from datamodules.synthetic import wikitext2 as synthetic_set
from datamodules.text.prompts import Prompts, read_prompts
from datamodules.text.sources import DatasetText, TextFiles
from datamodules.text.token_stream import TokenStreams
from datamodules.text.windows import Columns, Evaluation, SlidingWindows, Windows
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.samplers.fixed.shuffled import ShuffledBatches
from sextant.samplers.fixed.windows import RandomOffsetWindows

EVALUATION = Evaluation()


class WikiText2(BaseDataModule):
    """Word-level WikiText-2 (Merity et al. 2016, https://arxiv.org/abs/1609.07843), or any text.

    Tokens are the words that white space separates; ``<eos>`` ends every line, and ``<unk>`` is a word like others.
    WikiText-2 has 2,088,628 / 217,646 / 245,569 tokens so, and a vocabulary of 33,278. The token ids are kept in
    ``cache``; the text itself is never written to.

    Evaluation predicts every token of a split but the first, once, ``<unk>`` and ``<eos>`` among them. It reads windows
    of ``evaluation.length`` tokens, each ``evaluation.stride`` tokens after the one before, so that a token has a
    context of at least ``length - stride`` and at most ``length`` tokens (less at the start of the split).

    Args:
        root: a folder with ``train.txt``, ``valid.txt`` and ``test.txt``, or ``wiki.train.tokens`` and so on; or one
            UTF-8 text file, of which the first 90 % of lines are for training, the next 5 % for validation.
        dataset: read a data set of Hugging Face datasets instead of ``root``: its name on the hub, such as
            ``Salesforce/wikitext``, or a folder of Arrow or Parquet files. Its column ``text`` holds the lines.
        dataset_config: configuration of a data set on the hub.
        synthetic: use generated text instead, from a source whose entropy is known. Figures from it say nothing about
            WikiText-2.
        cache: folder for the token ids, for data sets converted to Arrow, and for the synthetic text.
        min_count: training words that are rarer become ``<unk>``. WikiText-2 comes with that done.
        batching: how training text is divided. ``windows``: sequences of ``sequence_length`` tokens in random order,
            whose borders move from epoch to epoch. ``columns``: ``batch_size`` continuous columns side by side, as
            PyTorch's word-language-model example has it.
        sequence_length: tokens in a training sequence.
        evaluation: the windows of ``validate`` and ``test``.
        prompt: for ``predict``, the text to continue.
        prompts: for ``predict``, a file with one prompt a line, instead of ``prompt``.
        batch_size: training sequences per step over all processes.
        num_workers: processes that gather batches ahead, per training process; 0 gathers in the training process.
        seed: seed of the order, the windows and the dropouts; set by ``seed_everything``.

    Batch: ``input`` int64 (B, T), ``target`` int64 (B, T), the token after each, or -100 where it does not count;
    ``index`` int64 (B,). In ``predict``: ``prompt``, a list of B texts, and ``index``.
    """

    free_settings = BaseDataModule.free_settings | {
        "root", "dataset", "cache", "prompt", "prompts", "evaluation.batch_size"
    }  # fmt: skip
    model_settings = frozenset({"min_count"})

    def __init__(
        self,
        root: str = "data/wikitext-2",
        dataset: str | None = None,
        dataset_config: str | None = "wikitext-2-v1",
        synthetic: bool = False,
        cache: str = "data/cache",
        min_count: int = 1,
        batching: Literal["windows", "columns"] = "windows",
        sequence_length: int = 128,
        evaluation: Evaluation = EVALUATION,
        prompt: str | None = None,
        prompts: str | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers, seed)
        for key, value in (("batch_size", batch_size), ("sequence_length", sequence_length), ("min_count", min_count)):
            if value < 1:
                raise InputError(f"data.{key} is {value}; it must be 1 or more.")
        self.batch_size = batch_size
        self.cache = Path(cache)
        self.root = self.cache / synthetic_set.FOLDER if synthetic else Path(root)
        self.dataset = None if synthetic else dataset
        self.dataset_config = dataset_config
        self.synthetic = synthetic
        self.min_count = min_count
        self.batching = batching
        self.sequence_length = sequence_length
        self.evaluation = evaluation
        self.prompt = prompt
        self.prompts = None if prompts is None else Path(prompts)
        #: The words, by their ids; empty until the corpus was read.
        self.vocabulary: list[str] = []
        self._names: dict[str, str] = {}
        self._sets: dict[str, Windows | Columns | SlidingWindows] = {}
        self._prompts: Prompts | None = None

    @override
    def prepare_data(self) -> None:
        """Make the synthetic text, if it is asked for."""
        if self.synthetic:
            synthetic_set.make(self.root)

    @override
    def setup(self, stage: str) -> None:
        """Read the splits that ``stage`` needs, or the prompts.

        Raises:
            InputError: the corpus or a prompt is missing, empty, too short or not UTF-8.
        """
        if stage == "predict":
            self._prompts = read_prompts(self.prompt, self.prompts)
            return
        source = DatasetText(self.dataset, self.dataset_config, self.cache) if self.dataset else TextFiles(self.root)
        streams = TokenStreams(source, self.cache, self.min_count)
        self.vocabulary = streams.vocabulary
        self._names = dict(streams.splits)
        if self.synthetic and stage == "fit":
            rank_zero_info(
                f"The source of the synthetic text has a perplexity of {synthetic_set.perplexity():.2f}; none is lower."
            )
        if stage == "fit":
            self._sets["train"] = self._training_set(streams.open("train"))
        split = "test" if stage == "test" else "val"
        self._sets[split] = self._evaluation_set(streams.open(split), split)

    def _training_set(self, stream: np.ndarray) -> Windows | Columns:
        # The tokens after the last ones of the columns, or room for the windows' offset.
        more = self.batch_size if self.batching == "columns" else self.sequence_length
        if len(stream) < self.batch_size * self.sequence_length + more:
            raise InputError(
                f"{self._names['train']}: {len(stream):,} words are less than one batch of {self.batch_size} sequences "
                f"of {self.sequence_length} words. Give more text, or lower --data.batch_size or "
                "--data.sequence_length."
            )
        if self.batching == "columns":
            return Columns(stream, self.batch_size, self.sequence_length)
        return Windows(stream, self.sequence_length)

    def _evaluation_set(self, stream: np.ndarray, split: str) -> SlidingWindows:
        if len(stream) < 2:
            raise InputError(f"{self._names[split]}: one word is too little to predict anything. Give more text.")
        return self.evaluation.windows(stream)

    @override
    def data_spec(self) -> DataSpec:
        """The words of the vocabulary, which ``predict`` does not read."""
        return DataSpec(labels=tuple(self.vocabulary))

    @override
    def input_description(self) -> dict[str, Any]:
        """How text becomes tokens."""
        return {"words": "what white space separates; <eos> ends a line; <unk> stands for words that are no class"}

    @override
    def train_dataloader(self) -> TimedDataLoader:
        train = self._sets["train"]
        order = (
            partial(ShuffledBatches, len(train), self.batch_size, shuffle=False)
            if self.batching == "columns"
            else partial(RandomOffsetWindows, len(train), self.batch_size, length=self.sequence_length, shuffle=True)
        )
        return self.loader(train, training=True, order=order)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self._evaluation_loader("val")

    @override
    def test_dataloader(self) -> TimedDataLoader:
        return self._evaluation_loader("test")

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        assert self._prompts is not None
        # One by one, so that each text is shown when it is done; several processes share them all in one step.
        several = self.trainer is not None and self.trainer.world_size > 1
        count = len(self._prompts)
        order = partial(ShuffledBatches, count, count if several else 1, shuffle=False)
        return self.loader(self._prompts, order=order)

    def _evaluation_loader(self, split: str) -> TimedDataLoader:
        windows = self._sets[split]
        order = partial(
            ShuffledBatches,
            len(windows),
            self.evaluation.batch_size,
            shuffle=False,
            setting="data.evaluation.batch_size",
        )
        return self.loader(windows, order=order)

    @override
    def units(self, batch: dict[str, Any]) -> dict[str, float]:
        return {"tokens": batch["target"].numel()}

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        split = self.running_split()
        indices = batch["index"].tolist()
        if split == "predict":
            assert self._prompts is not None
            return [self._prompts.names[index] for index in indices]
        return [f"{self._names[split]}, from word {self._sets[split].start(index) + 1}" for index in indices]

    @override
    def prediction_example(self) -> list[str]:
        return [f"--data.prompt={' '.join([word for word in self.vocabulary if word.isalnum()][:3])}"]
