"""What a step of the language models costs, against the classic loop written by hand; and what caching saves.

Run it from the project's folder: ``python -m benchmarks.language_model --help``.
"""

import argparse
import itertools
import math
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from benchmarks.machine import describe
from benchmarks.runner import (
    add_block_arguments,
    in_own_process,
    median_seconds,
    milliseconds_per_step,
    named,
    positive,
    quiet,
    ratios_by_round,
    spread,
    steps_of_a_block,
    take_turns,
)
from benchmarks.steps import CONFIGS, Clock, StepClock, fit, make, shared_trainer
from datamodules.text.windows import Evaluation
from datamodules.wikitext2 import WikiText2
from modules.networks.sampling import generate
from modules.transformer_lm import WordLanguageModel
from sextant.cli.command import run_command
from sextant.errors import InputError
from sextant.memory import peak_memory

VOCABULARY = 33278  # words of WikiText-2
Settings = dict[str, Any]

#: What is compared, and in what it differs from ``configs/transformer_wikitext2_baseline.yaml``. The modern forms have
#: as many parameters as the classic one (within 6 %): of the same sizes if input and output are not tied, and wider
#: ones if they are.
FORM = {"norm": "pre", "positions": "rotary", "activation": "gelu"}
TIED = FORM | {"tied": True, "embedding_dim": 320, "num_heads": 5, "feedforward_dim": 1280}
VARIANTS: dict[str, Settings] = {
    "plain": {},
    "classic": {},
    "classic, whole logits": {"loss_chunk": 0},
    "modern": {"architecture": FORM, "optimizer": "AdamW"},
    "modern, bf16": {"architecture": FORM, "optimizer": "AdamW", "precision": "bf16-mixed"},
    "modern, tied, bf16": {"architecture": TIED, "optimizer": "AdamW", "precision": "bf16-mixed"},
}


class PlainTransformer(nn.Module):
    """The model of PyTorch's word-language-model example, put together from torch's own layers.

    Args:
        words: vocabulary size.
        size: features of a word.
        heads: attention heads.
        hidden: hidden features.
        layers: layers.
        dropout: rate, everywhere.
    """

    def __init__(self, words: int, size: int, heads: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.size = size
        self.encoder = nn.Embedding(words, size)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(size, heads, hidden, dropout)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.decoder = nn.Linear(size, words)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        position = torch.arange(5000.0)[:, None]
        rate = torch.exp(torch.arange(0, size, 2) * (-math.log(10000.0) / size))
        table = torch.zeros(5000, 1, size)
        table[:, 0, 0::2], table[:, 0, 1::2] = torch.sin(position * rate), torch.cos(position * rate)
        self.register_buffer("positions", table)

    @override
    def forward(self, words: Tensor) -> Tensor:
        """Words int64 (T, B) to log-probabilities (T, B, words)."""
        mask = nn.Transformer.generate_square_subsequent_mask(len(words), device=words.device)
        x = self.encoder(words) * math.sqrt(self.size) + self.get_buffer("positions")[: len(words)]
        return F.log_softmax(self.decoder(self.transformer(self.dropout(x), mask)), dim=-1)


class MemoryAtStart(Callback):
    """Note the memory in use when the first step starts."""

    megabytes = 0.0

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.megabytes = memory_in_use(trainer.strategy.root_device)


def memory_in_use(device: torch.device) -> float:
    """Memory of this process in MB: on the GPU if there is one, resident memory elsewhere."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def settings_of(variant: str, args: argparse.Namespace, folder: Path) -> Settings:
    """The classic configuration with what the variant changes, cut down to timed steps.

    Args:
        variant: a key of :data:`VARIANTS`.
        args: the command line.
        folder: for logs.
    """
    settings = yaml.safe_load((CONFIGS / "transformer_wikitext2_baseline.yaml").read_text())
    trainer = shared_trainer(args.accelerator, folder, steps_of_a_block(args))
    changes = dict(VARIANTS[variant])
    trainer["precision"] = changes.pop("precision", "32-true")
    trainer["gradient_clip_val"] = settings["trainer"]["gradient_clip_val"]
    model = settings["model"]["init_args"]
    model["scheduler"] = None  # the classic one follows validations, and a block of steps has none
    if changes.pop("optimizer", None):
        model["optimizer"] = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3, "fused": True}}
        trainer["gradient_clip_val"] = None  # as in the modern configuration
    model["architecture"] |= changes.pop("architecture", {})
    model |= {"vocab_size": VOCABULARY, **changes}
    return {"model": settings["model"], "data": settings["data"]["init_args"], "trainer": trainer}


def make_data(root: Path, settings: Settings, cache: Path) -> WikiText2:
    """Open the text with the classic batching: 20 columns, 35 words at a time."""
    groups = {"evaluation": Evaluation(**settings["data"]["evaluation"])}
    data = WikiText2(root=str(root), cache=str(cache), **settings["data"] | groups)
    data.setup("fit")
    size = len(data.data_spec().labels)
    if size != VOCABULARY:
        raise InputError(f"{root}: a vocabulary of {size} words; the models have WikiText-2's 33278.")
    return data


def write_synthetic(root: Path) -> None:
    """Write a text with WikiText-2's vocabulary, its words drawn at random: as much work as the real one."""
    root.mkdir()
    generator = np.random.default_rng(0)
    every = generator.permutation(VOCABULARY - 2)
    words = [f"w{i}" for i in np.concatenate([every, generator.integers(VOCABULARY - 2, size=60_000)])]
    lines = [" ".join(words[i : i + 50]) for i in range(0, len(words), 50)]
    (root / "train.txt").write_text("\n".join(lines))
    (root / "valid.txt").write_text("\n".join(lines[:10]))


def run(variant: str, settings: Settings, data: WikiText2, clock: Clock) -> float:
    """Train a block of steps.

    Returns:
        The memory in use when the first step started, in MB.
    """
    memory = MemoryAtStart()
    if variant == "plain":
        return run_plain(settings, data, clock)
    fit(settings["trainer"], make(WordLanguageModel, settings["model"]), data, StepClock(clock), memory)
    return memory.megabytes


def run_plain(settings: Settings, data: WikiText2, clock: Clock) -> float:
    """Train a block of steps with a loop as PyTorch's example has it; returns what :func:`run` does."""
    model = settings["model"]["init_args"]
    form = model["architecture"]
    network = PlainTransformer(
        model["vocab_size"],
        form["embedding_dim"],
        form["num_heads"],
        form["feedforward_dim"],
        form["num_layers"],
        model["dropout"]["residual"],
    )
    network.to(clock.device).train()
    rate = model["optimizer"]["init_args"]["lr"]
    total, used = 0.0, 0.0
    for step, batch in zip(range(settings["trainer"]["max_steps"]), data.train_dataloader(), strict=False):
        clock.step_starts(step)
        if step == 0:
            used = memory_in_use(clock.device)
        words = batch["input"].t().contiguous().to(clock.device)
        target = batch["target"].t().reshape(-1).to(clock.device)
        network.zero_grad()
        loss = F.nll_loss(network(words).view(-1, VOCABULARY), target)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings["trainer"]["gradient_clip_val"])
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.add_(parameter.grad, alpha=-rate)
        total += loss.item()
    return used


def device_of(args: argparse.Namespace) -> torch.device:
    """Where the steps run."""
    gpu = args.accelerator == "gpu" or (args.accelerator == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if gpu else "cpu")


def measure_steps(args: argparse.Namespace, root: Path, folder: Path) -> dict[str, list[np.ndarray]]:
    """Time the variants in turn, in every round in another order; for each, rounds of :attr:`Clock.seconds`."""
    data = make_data(root, settings_of("classic", args, folder), folder)
    if len(data.train_dataloader()) < steps_of_a_block(args):
        raise InputError(f"{root}: the text is too short for {steps_of_a_block(args)} steps. Give fewer --steps.")

    def block(variant: str) -> np.ndarray:
        clock = Clock(device_of(args), args.warmup, args.steps)
        run(variant, settings_of(variant, args, folder), data, clock)
        return clock.seconds

    return take_turns(args.variants, args.rounds, block, milliseconds_per_step)


def memory_of(variant: str, args: argparse.Namespace, root: Path, folder: Path) -> tuple[int, float]:
    """Train for two steps in a process that has done nothing else.

    Returns:
        The parameters, and the peak of memory above what was in use before the first step, in MB.
    """
    quiet()
    torch.set_num_threads(args.threads)
    args.warmup, args.steps = 0, 1
    settings, device = settings_of(variant, args, folder), device_of(args)
    data = make_data(root, settings, folder)
    used = run(variant, settings, data, Clock(device, 0, 1))
    parameters = sum(p.numel() for p in make(WordLanguageModel, settings["model"]).parameters())
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else peak_memory()
    return parameters, peak - used


def measure_generation(args: argparse.Namespace) -> dict[str, float]:
    """Seconds for ``--words`` words generated by the modern configuration's network, with and without a cache."""
    settings = yaml.safe_load((CONFIGS / "transformer_wikitext2.yaml").read_text())
    network = make(WordLanguageModel, settings["model"]).network.eval().to(device_of(args))
    prompt = torch.zeros(1, dtype=torch.int64, device=device_of(args))
    texts: dict[str, list[int]] = {}

    def text(variant: str) -> float:
        words = generate(network, prompt, args.words + 1, torch.argmax, variant == "cached")
        start = time.perf_counter()
        texts[variant] = list(itertools.islice(words, args.words))
        return time.perf_counter() - start

    with torch.inference_mode():
        seconds = take_turns(("cached", "uncached"), args.rounds, text, "{:8.3f} s".format)
    assert texts["cached"] == texts["uncached"]
    return {name: float(np.median(values)) for name, values in seconds.items()}


def report_steps(seconds: dict[str, list[np.ndarray]], memory: dict[str, tuple[int, float]]) -> None:
    """Print the median step of each variant, its ratio to the plain loop, and the peak of memory."""
    print(f"\n{'variant':22} {'parameters':>10} {'median ms':>10} {'ratio':>7} {'by round':>16} {'peak MB':>8}")
    median = {variant: np.median(np.concatenate(blocks)[:, 0]) for variant, blocks in seconds.items()}
    by_round = {variant: [median_seconds(block) for block in blocks] for variant, blocks in seconds.items()}
    for variant in seconds:
        ratios = ratios_by_round(by_round, variant, "plain")
        ratio = median[variant] / median["plain"]
        parameters, peak = memory[variant]
        figures = f"{1000 * median[variant]:10.2f} {ratio:7.3f} {spread(ratios):>16} {peak:8.0f}"
        print(f"{variant:22} {parameters:10,} {figures}")


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.language_model",
        description="Compare training steps of the Transformer in its classic and modern forms, under the shared "
        "Trainer, with a plain loop over torch's own layers (log-softmax over all words, NLL), on the same batches of "
        "20 x 35 words. Blocks of steps alternate in one process; the peak of memory of each is measured in a process "
        "of its own. Then time generation with the modern configuration's network, with and without cached keys "
        "and values.",
    )
    parser.add_argument("--data-root", help="WikiText-2's folder; without it, as many words are drawn at random")
    add_block_arguments(parser, steps=10, warmup=2, rounds=3)
    parser.add_argument("--words", type=positive, default=512, help="words to generate (default: %(default)s)")
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="what to measure besides plain"
    )
    parser.add_argument(
        "--accelerator", choices=["auto", "cpu", "gpu"], default="auto", help="where it runs (default: %(default)s)"
    )
    parsed = parser.parse_args(args)
    parsed.variants = ["plain", *(variant for variant in parsed.variants if variant != "plain")]
    return parsed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    print(describe(named(args.data_root, "words drawn at random")))
    print(f"{args.threads} threads; {args.rounds} rounds of {args.steps} steps after {args.warmup}", flush=True)
    quiet()
    with tempfile.TemporaryDirectory(prefix="language_model_") as name:
        folder = Path(name)
        root = folder / "text" if args.data_root is None else Path(args.data_root)
        if args.data_root is None:
            write_synthetic(root)
        seconds = measure_steps(args, root, folder)
        memory = {v: in_own_process(memory_of, v, args, root, folder) for v in args.variants}
    report_steps(seconds, memory)
    times = measure_generation(args)
    print(
        f"\ngenerating {args.words} words: cached {times['cached']:.2f} s, uncached {times['uncached']:.2f} s, "
        f"ratio {times['uncached'] / times['cached']:.2f}"
    )


if __name__ == "__main__":
    run_command(main, "no figures")
