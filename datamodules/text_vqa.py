"""TextVQA, or any other questions about images, from the Hugging Face hub or from files."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, normalize, resize, to_dtype
from typing_extensions import override

from datamodules.synthetic import text_vqa as synthetic_set
from datamodules.vqa.annotations import read_rows, read_set, read_split
from datamodules.vqa.answer_vocabulary import AnswerVocabulary
from datamodules.vqa.dataset import VisualQuestions, apart
from datamodules.vqa.questions import ImageFiles, QuestionSet
from datamodules.vqa.scoring import ANNOTATORS
from datamodules.vqa.tokenizer import WordPieces
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.normalization import denormalize
from sextant.padding import Padded
from sextant.samplers.dynamic import DynamicBatchSampler

# FLAVA's, which are CLIP's (preprocessor_config.json of facebook/flava-full).
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


class TextVQA(BaseDataModule):
    """TextVQA (Singh et al. 2019, https://textvqa.org), or questions about images in a simpler form.

    They come from the Hugging Face hub or a folder of Parquet or Arrow files (``dataset``), or from the folder
    ``root``: TextVQA's annotations as they were published (``TextVQA_0.5.1_train.json`` and so on, ``train_images``,
    ``test_images``), or ``train.jsonl``, ``val.jsonl`` and ``test.jsonl`` (or ``.csv``) with ``image``, ``question``
    and ``answers`` in each row (:func:`datamodules.vqa.annotations.read_rows`).

    Args:
        root: the folder of the annotations.
        dataset: a set on the Hugging Face hub such as ``lmms-lab/textvqa``, or a folder with Parquet or Arrow files,
            instead of ``root``.
        dataset_config: which configuration of the set on the hub.
        synthetic: use generated images and questions instead. Figures from them say nothing about TextVQA.
        cache: folder for sets that were converted to Arrow, for what is known of the images, and for the synthetic set.
        unreadable: what to do about questions that cannot be used, for instance since their image is missing or
            damaged: stop (``error``) or leave them out (``skip``).
        answers: a file with the answers to choose from, one a line, ``<unk>`` first; those of the training questions if
            not given.
        min_count: without such a file, to how many training questions an answer must be the most frequent one.
        tokenizer: a ``vocab.txt`` of BERT's, a folder with a tokenizer, or a model on the Hugging Face hub.
        max_question_length: tokens of a question; longer ones lose their end.
        fixed_length: pad every question to ``max_question_length`` instead of the longest of its batch.
        ocr: append the words that were recognized in the image to the question, where the set has them.
        image_size: height and width in pixels that images are resized to.
        padding: the share of padding in questions to aim at in training, in [0, 1): questions of like length come into
            the same batch. 0.5 and more is random order for most sets.
        image: for ``predict``, an image to ask ``question`` about.
        question: the question.
        questions: for ``predict``, a CSV or JSON lines file with ``image`` and ``question`` in each row instead;
            without either, the test split is answered.
        batch_size: questions per step over all processes.
        num_workers: processes that decode images ahead, per training process; 0 decodes in the training process.
        seed: seed of the order; set by ``seed_everything``.

    Batch: ``image`` float (B, 3, image_size, image_size), normalized; ``question``, a pair of tokens int64 (B, T),
    padded on the right, and their numbers int64 (B,); ``label`` int64 (B,), the number of the answer that most
    annotators gave, 0 if it is not in the vocabulary; ``answers``, a pair of int64 (B, K), the answers of the
    vocabulary that are worth something, padded with 0, and their numbers; ``scores``, a pair of float (B, K), what they
    are worth by the official VQA accuracy, padded with 0, and their numbers; ``text``, a list of B questions;
    ``annotators``, a list of B lists of answers; ``index`` int64 (B,). In ``predict``: ``image``, ``question``,
    ``text``, ``index``.
    """

    free_settings = BaseDataModule.free_settings | {
        "root", "dataset", "cache", "unreadable", "answers", "image", "question", "questions"
    }  # fmt: skip
    normalization = (MEAN, STD)

    def __init__(
        self,
        root: str = "data/textvqa",
        dataset: str | None = None,
        dataset_config: str | None = None,
        synthetic: bool = False,
        cache: str = "data/cache",
        unreadable: Literal["error", "skip"] = "error",
        answers: str | None = None,
        min_count: int = 2,
        tokenizer: str = "facebook/flava-full",
        max_question_length: int = 512,
        fixed_length: bool = False,
        ocr: bool = False,
        image_size: int = 224,
        padding: float = 0.1,
        image: str | None = None,
        question: str | None = None,
        questions: str | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers, seed)
        self.batch_size = batch_size
        self.cache = Path(cache)
        self.root = Path(root)
        self.dataset = str(self.cache / synthetic_set.FOLDER / "data") if synthetic else dataset
        self.dataset_config = None if synthetic else dataset_config
        self.synthetic = synthetic
        self.unreadable = unreadable
        self.answers = None if answers is None else Path(answers)
        self.min_count = min_count
        self.tokenizer = str(self.cache / synthetic_set.FOLDER / "vocab.txt") if synthetic else tokenizer
        self.max_question_length = max_question_length
        self.fixed_length = fixed_length
        self.ocr = ocr
        self.image_size = image_size
        self.padding = padding
        self.image = None if image is None else Path(image)
        self.question = question
        self.questions = None if questions is None else Path(questions)
        for key, value, least in (
            ("batch_size", batch_size, 1),
            ("min_count", min_count, 1),
            ("image_size", image_size, 1),
            ("max_question_length", max_question_length, 3),
        ):
            if value < least:
                raise InputError(f"data.{key} is {value}; it must be {least} or more.")
        if not 0 <= padding < 1:
            raise InputError(f"data.padding is {padding}; it must be 0 or more and below 1.")
        if (image is None) != (question is None) or (questions is not None and image is not None):
            raise InputError("Give either --data.image and --data.question, or --data.questions with a file of many.")
        self._answer_names: list[str] = []  # by id; empty until the questions were read
        self._tokenizer_size = 0
        self._sets: dict[str, VisualQuestions] = {}

    @override
    def prepare_data(self) -> None:
        """Make the synthetic set, if it is asked for."""
        if self.synthetic:
            synthetic_set.make(self.cache / synthetic_set.FOLDER)

    @override
    def setup(self, stage: str) -> None:
        """Read the questions that ``stage`` needs, and check their images.

        Raises:
            InputError: questions, answers, the tokenizer or images are missing or damaged.
        """
        tokenizer = WordPieces(self.tokenizer, self.max_question_length)
        self._tokenizer_size = len(tokenizer)
        if stage == "predict":
            self._sets["predict"] = self._tokenized(tokenizer, self._asked(), None)
            return
        splits = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}[stage]
        # The training answers make the vocabulary, if no file does.
        wanted = splits if self.answers or "train" in splits else ("train", *splits)
        read = self._read(dict.fromkeys(wanted, True))
        if self.answers:
            vocabulary = AnswerVocabulary.read(self.answers)
        else:
            vocabulary = AnswerVocabulary.build((given for given in read["train"].answers if given), self.min_count)
        self._answer_names = vocabulary.answers
        for split in splits:
            rows = read[split].usable(self.cache, labeled=True, unreadable=self.unreadable)
            self._sets[split] = self._tokenized(tokenizer, rows, vocabulary)

    def _read(self, splits: dict[str, bool]) -> dict[str, QuestionSet]:
        if self.dataset is not None:
            return read_set(self.dataset, self.dataset_config, self.cache, splits)
        return {split: read_split(self.root, split, labeled) for split, labeled in splits.items()}

    def _asked(self) -> QuestionSet:
        """What ``predict`` is to answer."""
        if self.image is not None and self.question is not None:
            where = str(self.image)
            rows = QuestionSet(where, [where], [self.question], [[]], [[]], ImageFiles([self.image]))
        elif self.questions is not None:
            rows = read_rows(self.questions, labeled=False)
        else:
            rows = self._read({"test": False})["test"]
        return rows.usable(None if self.questions or self.image else self.cache, False, self.unreadable)

    def _tokenized(
        self, tokenizer: WordPieces, rows: QuestionSet, vocabulary: AnswerVocabulary | None
    ) -> VisualQuestions:
        tokens, cut = tokenizer.encode(rows.questions, [" ".join(words) for words in rows.ocr] if self.ocr else None)
        if cut:
            rank_zero_warn(
                f"{rows.name}: {cut:,} of {len(rows):,} questions are longer than data.max_question_length "
                f"({self.max_question_length}) and have lost their end."
            )
        if vocabulary is not None:
            others = sum(len(answers) != ANNOTATORS for answers in rows.answers)
            rank_zero_info(
                f"{rows.name}: {len(rows):,} questions"
                + (f", {others:,} of them with other than {ANNOTATORS} answers" if others else "")
            )
        return VisualQuestions(rows, tokens, vocabulary)

    @override
    def data_spec(self) -> DataSpec:
        """The answers (none in ``predict``), and the sizes of images, questions and the tokenizer's vocabulary."""
        sizes = {
            "image_size": self.image_size,
            "max_question_length": self.max_question_length,
            "tokenizer": self._tokenizer_size,
        }
        return DataSpec(labels=tuple(self._answer_names), input_sizes=sizes)

    @override
    def train_dataloader(self) -> TimedDataLoader:
        return self._like_length("train", training=True, padding=self.padding)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self._like_length("val", shuffle=False)

    @override
    def test_dataloader(self) -> TimedDataLoader:
        return self._like_length("test", shuffle=False)

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self.loader(self._sets["predict"])

    def _like_length(self, split: str, *, training: bool = False, **options: Any) -> TimedDataLoader:
        """Batches of as many questions as each process may have, of like length."""
        ranks = self.trainer.world_size if self.trainer else 1
        if self.batch_size % ranks:
            raise InputError(
                f"data.batch_size is {self.batch_size}, which {ranks} processes cannot share evenly. Give a multiple "
                f"of {ranks}, such as {-(-self.batch_size // ranks) * ranks}."
            )
        questions = self._sets[split]
        share = self.batch_size // ranks
        # The budget is what the most of the longest take: only their number counts.
        longest = float(questions.lengths.max())
        order = partial(DynamicBatchSampler, questions.lengths, share * longest, max_batch_ex=share, **options)
        return self.loader(questions, training=training, order=order)

    @override
    def transform(self, batch: dict[str, Any], training: bool) -> dict[str, Any]:
        size = [self.image_size, self.image_size]
        images = apart(*batch["image"])
        resized = [resize(image, size, InterpolationMode.BICUBIC, antialias=True) for image in images]
        image = normalize(to_dtype(torch.stack(resized), torch.float32, scale=True), MEAN, STD)
        if not self.fixed_length:
            return batch | {"image": image}
        question: Padded = batch["question"]
        missing = self.max_question_length - question.data.shape[1]
        tokens = torch.nn.functional.pad(question.data, (0, missing))
        return batch | {"image": image, "question": Padded(tokens, question.lengths)}

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        rows = self._sets[self.running_split()].rows
        return [rows.source(index) for index in batch["index"].tolist()]

    @override
    def input_description(self) -> dict[str, Any]:
        """The normalization, the images' resizing and the tokenizer."""
        return super().input_description() | {
            "resize": "bicubic, antialiased, to the whole size",
            "tokenizer": str(self.tokenizer),
            "max_question_length": self.max_question_length,
            "ocr": self.ocr,
        }

    def to_images(self, image: Tensor) -> Tensor:
        """Undo the normalization: float (B, 3, H, W) to uint8 (B, 3, H, W)."""
        return denormalize(image, MEAN, STD)
