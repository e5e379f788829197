"""FLAVA with a classification head over answers: images and questions in, logits out."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, FlavaConfig, FlavaModel
from transformers.models.flava.configuration_flava import FlavaImageConfig, FlavaMultimodalConfig, FlavaTextConfig

from sextant.errors import InputError
from sextant.files.hub import look_for_hub

Part = Literal["text", "image", "multimodal"]
#: What each part that can be frozen consists of.
PARTS: dict[Part, tuple[str, ...]] = {
    "text": ("text_model",),
    "image": ("image_model",),
    "multimodal": ("multimodal_model", "text_to_mm_projection", "image_to_mm_projection"),
}
#: Weights of the published model that the answer does not depend on: projections for the contrastive loss, pooled
#: outputs, and the final layer norms of the image and text encoders, whose outputs the multimodal encoder skips.
UNUSED = (
    *("image_projection", "text_projection", "logit_scale"),
    *("image_model.layernorm", "image_model.pooler", "image_model.embeddings.mask_token"),
    *("text_model.layernorm", "text_model.pooler", "multimodal_model.pooler"),
)


@dataclass(frozen=True)
class FlavaArchitecture:
    """The sizes of a FLAVA with random weights. The defaults are those of the published model.

    Args:
        image_size: height and width of the images in pixels.
        patch_size: height and width of the patches that images are split into, in pixels.
        text_vocab_size: size of the tokenizer's vocabulary.
        max_question_length: the most tokens of a question.
        dim: features of a token.
        feedforward_dim: hidden features of the layers' feed-forward networks.
        num_heads: attention heads.
        image_layers: layers of the image encoder.
        text_layers: layers of the text encoder.
        multimodal_layers: layers of the encoder of both.
        dropout: probability with which a value is dropped in each layer while training.
    """

    image_size: int = 224
    patch_size: int = 16
    text_vocab_size: int = 30522
    max_question_length: int = 512
    dim: int = 768
    feedforward_dim: int = 3072
    num_heads: int = 12
    image_layers: int = 12
    text_layers: int = 12
    multimodal_layers: int = 6
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            InputError: a size is not positive, or two do not go together.
        """
        for key, value in vars(self).items():
            if key != "dropout" and value < 1:
                raise InputError(f"model.architecture.{key} is {value}; it must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.architecture.dropout is {self.dropout}; it must be 0 or more and below 1.")
        for whole, key in (("image_size", "patch_size"), ("dim", "num_heads")):
            if getattr(self, whole) % getattr(self, key):
                raise InputError(
                    f"model.architecture.{whole} is {getattr(self, whole)}; it must be a multiple of {key} "
                    f"({getattr(self, key)})."
                )

    def configuration(self) -> FlavaConfig:
        """The same in transformers' classes."""
        common: dict[str, Any] = {
            "hidden_size": self.dim,
            "intermediate_size": self.feedforward_dim,
            "num_attention_heads": self.num_heads,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
        }
        image = FlavaImageConfig(
            num_hidden_layers=self.image_layers, image_size=self.image_size, patch_size=self.patch_size, **common
        )
        text = FlavaTextConfig(
            num_hidden_layers=self.text_layers,
            vocab_size=self.text_vocab_size,
            max_position_embeddings=self.max_question_length,
            **common,
        )
        multimodal = FlavaMultimodalConfig(num_hidden_layers=self.multimodal_layers, **common)
        return FlavaConfig(
            image_config=image.to_dict(),
            text_config=text.to_dict(),
            multimodal_config=multimodal.to_dict(),
            hidden_size=self.dim,
            projection_dim=self.dim,
        )


class _Encoders(FlavaModel):
    """FLAVA without the heads that the published model was pretrained with."""

    _keys_to_ignore_on_load_unexpected = [  # noqa: RUF012 as the base class has it
        r"^(image_codebook|mim_head|mlm_head|itm_head|mmm_image_head|mmm_text_head|global_contrastive_head)\."
    ]


def pretrained_flava(weights: str) -> FlavaModel:
    """Load FLAVA from the Hugging Face hub, such as ``facebook/flava-full``, or from a folder.

    Args:
        weights: name of the model, or the folder that ``save_pretrained`` wrote.

    Raises:
        InputError: it cannot be loaded, or is no whole FLAVA.
    """
    advice = (
        "Give the name of a FLAVA model on the Hugging Face hub, such as facebook/flava-full (it needs the network the "
        "first time), or a folder that save_pretrained wrote; or leave model.weights out for random ones."
    )
    loaded: Any = None
    look_for_hub(weights)
    try:
        kind = AutoConfig.from_pretrained(weights).model_type
        if kind == FlavaConfig.model_type:
            loaded = _Encoders.from_pretrained(weights, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise InputError(
            f"{weights}: no FLAVA can be loaded from there (model.weights): {first_line} {advice}"
        ) from error
    if loaded is None:
        raise InputError(f"{weights}: it is no FLAVA but a {kind} (model.weights). {advice}")
    model, report = loaded
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise InputError(
            f"{weights}: it is no whole FLAVA (model.weights): {len(missing)} of its weights are missing, such as "
            f"{missing[0]}. {advice}"
        )
    return model.train()  # layers are computed anew in the backward pass while training only


class FlavaForAnswers(nn.Module):
    """FLAVA (Singh et al. 2022, https://arxiv.org/abs/2112.04482) with an MLP over the multimodal CLS embedding.

    Args:
        flava: the model.
        num_answers: answers to choose from.
        hidden_dim: hidden features of the head.
        dropout: probability with which a hidden feature of the head is dropped while training.
        frozen: parts of ``flava`` that are not trained.
    """

    def __init__(
        self, flava: FlavaModel, num_answers: int, hidden_dim: int, dropout: float, frozen: Collection[Part] = ()
    ) -> None:
        super().__init__()
        self.flava = flava
        sizes: Any = flava.config
        #: Height and width of the images in pixels.
        self.image_size: int = sizes.image_config.image_size
        #: Size of the tokenizer's vocabulary.
        self.text_vocab_size: int = sizes.text_config.vocab_size
        #: The most tokens of a question.
        self.max_question_length: int = sizes.text_config.max_position_embeddings
        dim: int = sizes.multimodal_config.hidden_size
        self.head = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_dim, num_answers)
        )
        frozen_names = (*UNUSED, *(name for part in frozen for name in PARTS[part]))
        for name, parameter in flava.named_parameters():
            if name.startswith(tuple(frozen_names)):
                parameter.requires_grad = False

    def forward(self, image: Tensor, question: Tensor, lengths: Tensor) -> Tensor:
        """Logits of all answers.

        Args:
            image: float (B, 3, S, S), normalized.
            question: token ids int64 (B, T), padded on the right.
            lengths: of the questions, int64 (B,).

        Returns:
            Logits (B, num_answers).
        """
        attended = torch.arange(question.shape[1], device=question.device) < lengths[:, None]
        output = self.flava(input_ids=question, pixel_values=image.to(self.flava.dtype), attention_mask=attended.long())
        return self.head(output.multimodal_embeddings[:, 0])
