"""Data in the real on-disk formats, made once per session."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from datamodules.samples import tiny_imagenet as tiny_imagenet_sample

# CI tries the same examples each time; on a developer's machine Hypothesis goes on looking for new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def tiny_imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in Tiny-ImageNet's layout: 10 classes, 80 training, 40 validation, 20 test pictures."""
    root = tmp_path_factory.mktemp("data") / "tiny-imagenet-200"
    tiny_imagenet_sample.make(root, train=8, val=4, test=2)
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's decoded data is kept."""
    return tmp_path_factory.mktemp("cache")
