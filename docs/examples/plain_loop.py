"""Dynamic batches in a loop of one's own, without Lightning, that can be killed anywhere and resumed exactly.

    python plain_loop.py --folder=whole
    python plain_loop.py --folder=killed --kill_at=25
    python plain_loop.py --folder=killed

The first and the third command print the same figure, which is made of every bit of the weights. ``--stream`` reads the
same examples as a stream, whose lengths are not known beforehand.
"""

import argparse
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sextant.padding import Padded, pad_right
from sextant.samplers.dynamic import DynamicBatchSampler
from sextant.samplers.stream import DynamicBatchStream

EPOCHS, SAVE_EVERY = 3, 10
FEATURES = 8


class Sequences(Dataset[dict[str, Tensor]]):
    """Random sequences of 5 to 60 steps; the target of each is whether its mean is above 0."""

    lengths = torch.randint(5, 61, (400,), generator=torch.Generator().manual_seed(0)).tolist()

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(index)
        x = torch.randn(self.lengths[index], FEATURES, generator=draw) + 0.3 * (-1) ** index
        return {"x": x, "target": (x.mean() > 0).float()}


class Tagger(nn.Module):
    """A GRU over a sequence, with dropout, so that a resumed run must draw the same random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, 16, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Padded) -> Tensor:
        steps, _ = self.gru(x.data)
        summed = (steps * x.mask.unsqueeze(-1)).sum(1)
        return self.head(self.dropout(summed / x.lengths.unsqueeze(-1))).squeeze(-1)


def examples(epoch: int) -> Iterator[int]:
    """The indices of an epoch in the order in which a stream would bring them."""
    yield from torch.randperm(len(Sequences.lengths), generator=torch.Generator().manual_seed(epoch)).tolist()


def length(index: int) -> float:
    return Sequences.lengths[index]


def collate(indices: list[int]) -> dict[str, Tensor]:
    return pad_right([Sequences()[index] for index in indices])


def train(folder: Path, kill_at: int | None, stream: bool) -> None:
    torch.manual_seed(0)
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    batches: DynamicBatchSampler | DynamicBatchStream[int]
    if stream:
        batches = DynamicBatchStream(examples, length, collate, max_batch_length=600, buffer=100)
        loader = DataLoader(batches, batch_size=None, num_workers=2, persistent_workers=True)
    else:
        batches = DynamicBatchSampler(Sequences.lengths, max_batch_length=600, padding=0.05)
        loader = DataLoader(Sequences(), batch_sampler=batches, collate_fn=pad_right, num_workers=2)

    checkpoint = folder / "last.pt"
    steps = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        batches.load_state_dict(state["batches"])
        steps = state["steps"]
        print(f"Resumed after step {steps}, in epoch {batches.epoch}.")

    for epoch in range(batches.epoch, EPOCHS):
        batches.set_epoch(epoch)
        for done, batch in enumerate(loader, 1):  # counted anew in each epoch, and after a restart
            torch.manual_seed(steps)  # kept generator states would not do: a loader draws from them when it starts
            loss = nn.functional.binary_cross_entropy_with_logits(model(batch["x"]), batch["target"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if steps % SAVE_EVERY == 0:
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "batches": batches.state_dict(done),  # the workers are ahead, so the loop says how far it is
                    "steps": steps,
                }
                folder.mkdir(parents=True, exist_ok=True)
                torch.save(state, folder / "part")
                (folder / "part").replace(checkpoint)  # whole or not at all
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        print(f"epoch {epoch}: loss {loss.item():.4f}")
    weights = b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())
    print(f"{steps} steps, weights {hashlib.sha256(weights).hexdigest()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the checkpoint")
    parser.add_argument("--kill_at", type=int, help="the step after which this process kills itself")
    parser.add_argument("--stream", action="store_true", help="read the examples as a stream")
    train(**vars(parser.parse_args()))
