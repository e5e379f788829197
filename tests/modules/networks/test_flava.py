"""FLAVA with a head over answers: what it looks at, what it learns with, and where its weights come from."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, FlavaConfig, FlavaForPreTraining, FlavaModel

from modules.networks.flava import PARTS, FlavaArchitecture, FlavaForAnswers, Part, pretrained_flava
from sextant.errors import InputError

TINY = FlavaArchitecture(
    image_size=16,
    patch_size=8,
    text_vocab_size=30,
    max_question_length=24,
    dim=16,
    feedforward_dim=24,
    num_heads=2,
    image_layers=1,
    text_layers=2,
    multimodal_layers=1,
)


def network(
    num_answers: int = 7, frozen: tuple[Part, ...] = (), architecture: FlavaArchitecture = TINY
) -> FlavaForAnswers:
    torch.manual_seed(0)
    return FlavaForAnswers(FlavaModel(architecture.configuration()), num_answers, 8, 0.5, frozen).eval()


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([9, 5, 3])
    question = torch.randint(1, 30, (3, 9), generator=generator)
    question[torch.arange(9) >= lengths[:, None]] = 0
    return torch.randn(3, 3, 16, 16, generator=generator), question, lengths


@pytest.mark.parametrize("filling", [0, 17])
def test_answer_does_not_depend_on_how_far_its_question_is_padded(filling: int) -> None:
    answering = network()
    image, question, lengths = batch()
    with torch.no_grad():
        alone = [answering(image[i, None], question[i, None, :n], lengths[i, None])[0] for i, n in enumerate(lengths)]
        far = torch.nn.functional.pad(question, (0, 24 - 9))
        far[torch.arange(24) >= lengths[:, None]] = filling
        together = answering(image, far, lengths)
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("which", ["image", "question"])
def test_answer_depends_on_image_and_question(which: str) -> None:
    answering = network()
    image, question, lengths = batch()
    other = (image + 1, question) if which == "image" else (image, question.where(question == 0, question % 29 + 1))
    assert (answering(image, question, lengths) - answering(*other, lengths)).abs().min(1).values.gt(1e-6).all()


def test_image_encoder_runs_once() -> None:
    answering, calls = network(), []
    answering.flava.image_model.register_forward_hook(lambda *_: calls.append(1))
    answering(*batch())
    assert len(calls) == 1


@pytest.mark.parametrize(
    "frozen", [(), ("text",), ("image",), ("text", "image", "multimodal")], ids=lambda parts: "+".join(parts) or "none"
)
def test_every_weight_that_is_trained_has_a_gradient_and_no_other(frozen: tuple[Part, ...]) -> None:
    """Otherwise ddp would wait for gradients that never come."""
    answering = network(frozen=frozen)
    answering(*batch()).square().sum().backward()
    trained = {name for name, weight in answering.named_parameters() if weight.requires_grad}
    assert {name for name, weight in answering.named_parameters() if weight.grad is not None} == trained
    for part, modules in PARTS.items():
        learning = [name for name in trained if name.startswith(tuple(f"flava.{module}." for module in modules))]
        assert bool(learning) == (part not in frozen)
    assert {"head.0.weight", "head.3.bias"} <= trained


def test_untrained_scores_are_those_of_guessing_among_the_answers() -> None:
    """ln(3997) = 8.29; the tutorial that this comes from has 8.29, 8.36, 8.27."""
    answering = network(num_answers=3997)
    losses = torch.nn.functional.cross_entropy(answering(*batch()), torch.tensor([1, 2000, 3996]), reduction="none")
    assert losses.mean().item() == pytest.approx(math.log(3997), abs=0.1)


def test_saved_model_is_loaded_from_its_folder(tmp_path: Path) -> None:
    saved = network().flava
    saved.save_pretrained(tmp_path)
    loaded = pretrained_flava(str(tmp_path))
    sizes: Any = loaded.config
    assert sizes.image_config.image_size == 16
    assert all(module.training for module in loaded.modules())  # or gradient checkpointing would do nothing
    for name, weight in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name


def test_weights_in_half_precision_are_trained_in_single(tmp_path: Path) -> None:
    network().flava.bfloat16().save_pretrained(tmp_path)
    assert {weight.dtype for weight in pretrained_flava(str(tmp_path)).parameters()} == {torch.float32}


def test_cut_off_weights_are_refused(tmp_path: Path) -> None:
    network().flava.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="no FLAVA can be loaded from there"):
        pretrained_flava(str(tmp_path))


def test_published_kind_of_checkpoint_gives_its_encoders(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What is published is the model for pretraining, with its heads and image codebook: they are left out silently."""
    whole = FlavaForPreTraining(TINY.configuration())
    whole.save_pretrained(tmp_path)
    loaded = pretrained_flava(str(tmp_path))
    assert torch.equal(loaded.text_to_mm_projection.weight, whole.flava.text_to_mm_projection.weight)
    assert "UNEXPECTED" not in capfd.readouterr().err + caplog.text


def test_folder_without_a_whole_flava_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="no FLAVA can be loaded from there"):
        pretrained_flava(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="facebook/flava-full: no FLAVA can be loaded from there"):
        pretrained_flava("facebook/flava-full")
    small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    BertModel(small).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="it is no FLAVA but a bert"):
        pretrained_flava(str(tmp_path / "bert"))
    saved = network().flava
    weights = {name: weight for name, weight in saved.state_dict().items() if "text_model" not in name}
    saved.save_pretrained(tmp_path / "part", state_dict=weights)
    with pytest.raises(InputError, match=r"no whole FLAVA.*text_model"):
        pretrained_flava(str(tmp_path / "part"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_layers": 0}, "image_layers is 0"),
        ({"patch_size": 15}, "image_size is 224; it must be a multiple of patch_size"),
        ({"num_heads": 7}, "dim is 768; it must be a multiple of num_heads"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_sizes_that_make_no_model_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FlavaArchitecture(**settings)


def test_sizes_by_default_are_the_published_models() -> None:
    """Which are also those that transformers has by default."""
    ours, published = FlavaArchitecture().configuration(), FlavaConfig()
    for part in ("image_config", "text_config", "multimodal_config"):
        assert getattr(ours, part).to_dict() == getattr(published, part).to_dict()
