"""TextVQA, or any other questions about images, from the Hugging Face hub or from files."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor
from torchvision.transforms.v2.functional import normalize
from typing_extensions import override

from datamodules.synthetic import text_vqa as synthetic_set
from datamodules.vqa.annotations import find_split, load_set, no_split, read_set, read_split
from datamodules.vqa.answer_vocabulary import AnswerVocabulary
from datamodules.vqa.dataset import VisualQuestions, unpack_images
from datamodules.vqa.prediction import Prediction
from datamodules.vqa.preprocessing import Preprocessing
from datamodules.vqa.questions import QuestionSet
from datamodules.vqa.scoring import ANNOTATORS
from datamodules.vqa.tokenizer import QuestionTokenizer
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.normalization import denormalize
from sextant.samplers.fixed.similar_lengths import SimilarLengthBatches

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
        invalid_samples: what to do about questions that cannot be used, for instance since their image is missing or
            damaged: stop (``error``) or leave them out (``skip``).
        preprocessing: how images, questions and answers become tensors.
        padding: the fraction of padding in questions to aim at in training, in [0, 1): questions of like length come
            into the same batch. 0.5 and more is random order for most sets.
        prediction: the questions that ``predict`` answers; the test split by default.
        batch_size: questions per step over all processes.
        num_workers: processes that decode images ahead, per training process; 0 decodes in the training process.
        seed: seed of the order; set by ``seed_everything``.

    Batch: ``image`` float (B, 3, image_size, image_size), normalized; ``question``, a pair of token ids int64 (B, T),
    padded on the right, and their lengths int64 (B,); ``label`` int64 (B,), the id of the answer that most annotators
    gave, 0 if it is not in the vocabulary; ``answers``, a pair of int64 (B, K), the ids of the answers with a score
    above 0, padded with 0, and their lengths; ``scores``, a pair of float (B, K), their official VQA
    accuracy, padded with 0, and their lengths; ``text``, a list of B questions; ``annotators``, a list of B lists of
    answers; ``index`` int64 (B,). In ``predict``: ``image``, ``question``, ``text``, ``index``.
    """

    free_settings = BaseDataModule.free_settings | {
        "root", "dataset", "cache", "invalid_samples", "preprocessing.answers", "prediction"
    }  # fmt: skip
    model_settings = frozenset({"preprocessing"})
    normalization = (MEAN, STD)

    def __init__(
        self,
        root: str = "data/textvqa",
        dataset: str | None = None,
        dataset_config: str | None = None,
        synthetic: bool = False,
        cache: str = "data/cache",
        invalid_samples: Literal["error", "skip"] = "error",
        preprocessing: Preprocessing = Preprocessing(),
        padding: float = 0.1,
        prediction: Prediction = Prediction(),
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
        self.invalid_samples = invalid_samples
        if synthetic:
            preprocessing = replace(preprocessing, tokenizer=str(self.cache / synthetic_set.FOLDER / "vocab.txt"))
        self.preprocessing = preprocessing
        self.padding = padding
        self.prediction = prediction
        if batch_size < 1:
            raise InputError(f"data.batch_size is {batch_size}; it must be 1 or more.")
        if not 0 <= padding < 1:
            raise InputError(f"data.padding is {padding}; it must be 0 or more and below 1.")
        self._answer_names: list[str] = []  # by id; empty until the questions were read
        self._tokenizer_size = 0
        self._sets: dict[str, VisualQuestions] = {}

    @override
    def prepare_data(self) -> None:
        """Make the synthetic set, if it is asked for."""
        if self.synthetic:
            synthetic_set.make(self.cache / synthetic_set.FOLDER)

    @override
    def require_data(self, stage: str) -> None:
        if stage == "predict" and self.prediction != Prediction():
            return
        if self.dataset is not None:
            load_set(self.dataset, self.dataset_config, self.cache)
        elif not self.root.is_dir():
            raise no_split(self.root, {"fit": "train", "validate": "val"}.get(stage, "test"))

    @override
    def setup(self, stage: str) -> None:
        """Read the questions that ``stage`` needs, and check their images.

        Raises:
            InputError: questions, answers, the tokenizer or images are missing or damaged.
        """
        tokenizer = QuestionTokenizer(self.preprocessing.tokenizer, self.preprocessing.max_question_length)
        self._tokenizer_size = len(tokenizer)
        if stage == "predict":
            self._sets["predict"] = self._tokenized(tokenizer, self._asked(), None)
            return
        splits = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}[stage]
        # The training answers make the vocabulary, if no file does.
        needed = splits if self.preprocessing.answers else ("train", *splits)
        read = self._read(dict.fromkeys(needed, True))
        training = read["train"].answers if "train" in read else []
        vocabulary = self.preprocessing.vocabulary(answers for answers in training if answers)
        self._answer_names = vocabulary.answers
        for split in splits:
            rows = read[split].valid(self.cache, labeled=True, invalid_samples=self.invalid_samples)
            self._sets[split] = self._tokenized(tokenizer, rows, vocabulary)

    def _read(self, splits: dict[str, bool]) -> dict[str, QuestionSet]:
        if self.dataset is not None:
            return read_set(self.dataset, self.dataset_config, self.cache, splits)
        return {split: read_split(self.root, split, labeled) for split, labeled in splits.items()}

    def _asked(self) -> QuestionSet:
        """The questions that ``predict`` answers."""
        asked = self.prediction.read()
        if asked is not None:
            return asked.valid(None, labeled=False, invalid_samples=self.invalid_samples)
        rows = self._read({"test": False})["test"]
        return rows.valid(self.cache, labeled=False, invalid_samples=self.invalid_samples)

    def _tokenized(
        self, tokenizer: QuestionTokenizer, rows: QuestionSet, vocabulary: AnswerVocabulary | None
    ) -> VisualQuestions:
        words = [" ".join(words) for words in rows.ocr] if self.preprocessing.ocr else None
        tokens, truncated = tokenizer.encode(rows.questions, words)
        if truncated:
            rank_zero_warn(
                f"{rows.name}: {truncated:,} of {len(rows):,} questions are longer than "
                f"data.preprocessing.max_question_length ({tokenizer.max_length}) and were truncated."
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
            "image_size": self.preprocessing.image_size,
            "max_question_length": self.preprocessing.max_question_length,
            "tokenizer": self._tokenizer_size,
        }
        return DataSpec(labels=tuple(self._answer_names), input_sizes=sizes)

    @override
    def train_dataloader(self) -> TimedDataLoader:
        return self._similar_lengths("train", self.padding, training=True)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self._similar_lengths("val")

    @override
    def test_dataloader(self) -> TimedDataLoader:
        return self._similar_lengths("test")

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self.loader(self._sets["predict"])

    def _similar_lengths(self, split: str, padding: float = 0.0, *, training: bool = False) -> TimedDataLoader:
        """The loader of batches of questions of similar length."""
        questions = self._sets[split]
        order = partial(SimilarLengthBatches, questions.lengths, self.batch_size, padding=padding, shuffle=training)
        return self.loader(questions, training=training, order=order)

    @override
    def transform(self, batch: dict[str, Any], training: bool) -> dict[str, Any]:
        image = normalize(self.preprocessing.resized(unpack_images(*batch["image"])), MEAN, STD)
        return batch | {"image": image, "question": self.preprocessing.padded(batch["question"])}

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        rows = self._sets[self.running_split()].rows
        return [rows.source(index) for index in batch["index"].tolist()]

    @override
    def input_description(self) -> dict[str, Any]:
        """The normalization, the images' resizing and the tokenizer."""
        return super().input_description() | {
            "resize": "bicubic, antialiased, to the whole size",
            "tokenizer": self.preprocessing.tokenizer,
            "max_question_length": self.preprocessing.max_question_length,
            "ocr": self.preprocessing.ocr,
        }

    def to_images(self, image: Tensor) -> Tensor:
        """Undo the normalization: float (B, 3, H, W) to uint8 (B, 3, H, W)."""
        return denormalize(image, MEAN, STD)

    @override
    def prediction_example(self) -> list[str]:
        if self.dataset is not None or find_split(self.root, "test") is not None:
            return []
        return [f"--data.prediction.questions={find_split(self.root, 'val')}"]
