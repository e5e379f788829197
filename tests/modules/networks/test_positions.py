"""Positional encodings have the properties that they were made for."""

import torch

from modules.networks.positions import rotate, sinusoids


def test_rotary_attention_depends_on_distances_alone() -> None:
    query, key = torch.randn(2, 1, 1, 1, 16)
    at = [
        (rotate(query, torch.tensor([a])) * rotate(key, torch.tensor([b]))).sum() for a, b in ((3.0, 1.0), (40.0, 38.0))
    ]
    torch.testing.assert_close(at[0], at[1], rtol=1e-4, atol=1e-4)
    other = (rotate(query, torch.tensor([3.0])) * rotate(key, torch.tensor([2.0]))).sum()
    assert not torch.isclose(at[0], other, rtol=1e-3)


def test_sinusoids_have_length_half_their_size() -> None:
    assert torch.allclose(sinusoids(torch.arange(5.0), 8).square().sum(1), torch.tensor(4.0))


def test_rotation_keeps_lengths_and_the_first_position() -> None:
    x = torch.randn(2, 3, 5, 8)
    rotated = rotate(x, torch.arange(5.0))
    torch.testing.assert_close(rotated.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rotated[:, :, 0], x[:, :, 0])
    assert not torch.isclose(rotated[:, :, 1:], x[:, :, 1:]).any()
