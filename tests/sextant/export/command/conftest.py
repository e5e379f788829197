"""A model trained on small images, its exported file, and what commands on small data have in common."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modules.deeplab import SemanticSegmenter
from tests.sextant.tiny import ARGUMENTS
from train import main

QUIET = ["--data.num_workers=0", "--trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def deeplab(small: Callable[[str], list[str]], folder: Path) -> list[str]:
    """What commands on the small images have in common."""
    return [*small("deeplab_voc"), *QUIET]


@pytest.fixture(scope="module")
def transformer(small: Callable[[str], list[str]], folder: Path) -> list[str]:
    """What commands on the small text have in common."""
    return [*small("transformer_wikitext2"), *QUIET]


@pytest.fixture(scope="session")
def checkpoint(small: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a run of two epochs."""
    arguments = ["fit", *small("deeplab_voc"), *QUIET, "--trainer.max_epochs=2", "--model.head_lr_factor=10"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        patch.setattr(sys, "argv", ["train.py"])
        log = main(arguments).trainer.log_dir
        return Path(log or "").resolve() / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def line(folder: Path) -> Path:
    """The checkpoint of the smallest workload."""
    main(["fit", *ARGUMENTS])
    return Path("logs/tiny/version_0/checkpoints/last.ckpt").resolve()


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> SemanticSegmenter:
    """The trained model, made without the command."""
    model = SemanticSegmenter("mobilenet_v3_large", num_classes=5).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    return model


@pytest.fixture(scope="module")
def exported(checkpoint: Path, deeplab: list[str], folder: Path) -> tuple[Path, list[Path]]:
    """A trained model's file, and all files under the folder before it was made."""
    before = sorted(folder.rglob("*"))
    main(["export", *deeplab, f"--ckpt_path={checkpoint}", "--format=torch_export", "--output=float/model.pt2"])
    return folder / "float" / "model.pt2", before
