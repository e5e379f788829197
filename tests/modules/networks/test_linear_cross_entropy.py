"""The loss in chunks is the loss."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from modules.networks.linear_cross_entropy import linear_cross_entropy


def case(rows: int, bias: bool = True, words: int = 40) -> tuple[Tensor, nn.Linear, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    torch.manual_seed(rows)
    output = nn.Linear(8, words, bias=bias)
    features = (3 * torch.randn(rows, 8, generator=generator)).requires_grad_()
    return features, output, torch.randint(words, (rows,), generator=generator)


@given(rows=st.integers(1, 12), chunk=st.integers(0, 14), bias=st.booleans(), factor=st.floats(0.1, 10))
def test_loss_and_gradients_are_those_of_all_logits_at_once(rows: int, chunk: int, bias: bool, factor: float) -> None:
    features, output, target = case(rows, bias)
    inputs = [features, *output.parameters()]
    expected = F.cross_entropy(output(features), target)
    loss = linear_cross_entropy(features, output, target, chunk)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss * factor, inputs), torch.autograd.grad(expected * factor, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(features, output, target, chunk), expected)


def test_very_large_logits_do_not_overflow() -> None:
    features, output, target = case(6)
    loss = linear_cross_entropy(1e4 * features, output, target, 2)
    torch.testing.assert_close(loss, F.cross_entropy(output(1e4 * features), target))
    assert loss.isfinite()


@pytest.mark.parametrize("bias", [True, False])
def test_under_autocast_matrices_are_multiplied_in_its_type_and_the_loss_is_float32(bias: bool) -> None:
    features, output, target = case(64, bias, words=3000)
    exact = F.cross_entropy(output(features), target)
    inputs = [features, *output.parameters()]
    wanted = torch.autograd.grad(exact, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(features, output, target, 16)
    gradients = torch.autograd.grad(loss, inputs)
    assert loss.dtype == torch.float32
    assert abs(loss - exact) < 2e-3  # bfloat16 has steps of 0.03 at this loss
    assert loss != exact
    for ours, theirs in zip(gradients, wanted, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_evaluation_under_autocast_is_float32_throughout() -> None:
    features, output, target = case(64, words=3000)
    exact = F.cross_entropy(output(features), target)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(linear_cross_entropy(features, output, target, 16), exact)


class LargestTensor(TorchDispatchMode):
    """Note the largest tensor that any operation gives."""

    numbers = 0

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self.numbers = max(self.numbers, value.numel())
        return result


@pytest.mark.parametrize("training", [True, False])
def test_logits_of_a_whole_batch_never_exist(training: bool) -> None:
    features, output, target = case(100, words=500)
    with torch.set_grad_enabled(training), LargestTensor() as seen:
        loss = linear_cross_entropy(features, output, target, 10)
        if training:
            loss.backward()
    assert seen.numbers == 10 * 500
    with torch.set_grad_enabled(training), LargestTensor() as seen:
        linear_cross_entropy(features, output, target, 0)
    assert seen.numbers == 100 * 500


def test_second_backward_pass_is_refused() -> None:
    features, output, target = case(6)
    loss = linear_cross_entropy(features, output, target, 2)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass only"):
        loss.backward()
