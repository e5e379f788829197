"""What a training step of DeepLabV3 costs under the shared Trainer, and how fast training crops are read.

Run it from the project's folder: ``python -m benchmarks.segmentation --help``.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from lightning.pytorch import LightningModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import RandomCrop
from torchvision.transforms.v2 import functional as T
from torchvision.transforms.v2.functional import InterpolationMode

from benchmarks.machine import describe
from benchmarks.runner import (
    add_block_arguments,
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
from datamodules.images import random_crop
from datamodules.images.segmentation import Pair
from datamodules.pascal_voc import MEAN, STD, PascalVOC
from datamodules.synthetic import pascal_voc as synthetic_set
from modules.deeplab import IGNORED, SemanticSegmenter
from sextant.cli.command import run_command
from sextant.optimization import parameter_groups

BASE = 520  # of torchvision's reference: the shorter side becomes half to twice as many pixels
STEP_SIZE = 257  # side of the images of a training step


class ReferenceCrops(Dataset):
    """Training crops as torchvision's references/segmentation make them with Pillow, one by one.

    The whole image is resized, then mirrored, padded and cropped, and each crop becomes floating-point numbers by
    itself.
    """

    def __init__(self, pairs: Sequence[Pair], size: int) -> None:
        self.pairs = pairs
        self.size = size

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        file, mask_file = self.pairs[index]
        assert mask_file is not None
        image, mask = Image.open(file).convert("RGB"), Image.open(mask_file)
        shorter = [int(torch.randint(BASE // 2, 2 * BASE + 1, (1,)))]
        image = T.resize(image, shorter, InterpolationMode.BILINEAR)
        mask = T.resize(mask, shorter, InterpolationMode.NEAREST)
        if torch.rand(1) < 0.5:
            image, mask = T.horizontal_flip(image), T.horizontal_flip(mask)
        beyond = [0, 0, max(0, self.size - image.width), max(0, self.size - image.height)]
        image, mask = T.pad(image, beyond, fill=0), T.pad(mask, beyond, fill=IGNORED)
        place = RandomCrop((self.size, self.size)).make_params([image])
        window = (place["top"], place["left"], self.size, self.size)
        values = T.to_dtype(T.pil_to_tensor(T.crop(image, *window)), torch.float32, scale=True)
        return T.normalize(values, MEAN, STD), T.pil_to_tensor(T.crop(mask, *window))[0].long()


def make_data(args: argparse.Namespace, folder: Path, images: int, **settings: Any) -> PascalVOC:
    """Make the data: that of ``--data-root``, or generated images of 500x375 pixels."""
    root = args.data_root
    if root is None:
        root = folder / f"synthetic-{images}"
        synthetic_set.make(root, train=images, val=1, sides=(375, 500))
    data = PascalVOC(root=str(root), cache=str(folder), classes=_classes(root, folder), **settings)
    data.setup("fit")
    return data


def _classes(root: Path, folder: Path) -> str:
    """The data's file of classes, or one with a name for every label, since the labels do not matter here."""
    own, every = root / "classes.txt", folder / "classes.txt"
    every.write_text("".join(f"class {label}\n" for label in range(21)))
    return str(own if own.exists() else every)


# Training steps


def step_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the model is made from."""
    settings = yaml.safe_load((CONFIGS / "deeplab_voc.yaml").read_text())["model"]
    settings["init_args"] |= {"backbone": args.backbone, "backbone_weights": None, "channels_last": False}
    return settings


def train_by_hand(settings: dict[str, Any], data: PascalVOC, clock: Clock) -> None:
    """Train a block with a loop as one would write it."""
    model: SemanticSegmenter = make(LightningModule, settings).train()
    optimizer = model.optimization.optimizer(parameter_groups(model.network, model.decay_norm_and_bias))
    schedule: Any = model.optimization.scheduler(optimizer)  # type: ignore[misc]
    schedule.total_steps = clock.last + 1
    for step, loaded in zip(range(clock.last + 1), data.train_dataloader(), strict=False):
        batch = data.transform(loaded, training=True)
        clock.step_starts(step)
        logits = model.network(batch["image"])
        losses = [F.cross_entropy(logits[head], batch["label"], ignore_index=IGNORED) for head in ("out", "aux")]
        (losses[0] + model.auxiliary * losses[1]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def measure_steps(args: argparse.Namespace, folder: Path) -> None:
    """Print the median step of both, and their ratio."""
    images = 2 * steps_of_a_block(args)
    settings = step_settings(args)
    data = make_data(args, folder, images, batch_size=2, augmentation=random_crop.RandomCrop(STEP_SIZE), seed=0)
    settings["init_args"]["num_classes"] = len(data.data_spec().labels)

    def block(variant: str) -> np.ndarray:
        clock = Clock(torch.device("cpu"), args.warmup, args.steps)
        data.trainer = None
        if variant == "trainer":
            trainer = shared_trainer("cpu", folder, clock.last + 1)
            fit(trainer, make(LightningModule, settings), data, StepClock(clock))
        else:
            train_by_hand(settings, data, clock)
        return clock.seconds

    seconds = take_turns(("trainer", "plain"), args.rounds, block, milliseconds_per_step)
    print(f"\n{'variant':8} {'median ms':>10} {'min ms':>10} {'processor ms':>12}")
    for variant, blocks in seconds.items():
        steps = np.concatenate(blocks)
        wall, processor = 1000 * np.median(steps, axis=0)
        print(f"{variant:8} {wall:10.1f} {1000 * steps[:, 0].min():10.1f} {processor:12.1f}")
    medians = {
        variant: np.median([np.median(b, axis=0) for b in blocks], axis=0) for variant, blocks in seconds.items()
    }
    wall, processor = medians["trainer"] / medians["plain"]
    print(f"step ratio trainer/plain: {wall:.4f}; in processor time {processor:.4f}")


# Reading


def images_per_second(loader: DataLoader, finish: Callable[[Any], Any]) -> float:
    """Read two epochs, and time the second one: in the first, the workers start."""
    seconds, count = 0.0, 0
    for _ in range(2):
        start, count = time.perf_counter(), 0
        for batch in loader:
            count += len(finish(batch))
        seconds = time.perf_counter() - start
    return count / seconds


def measure_reading(args: argparse.Namespace, folder: Path) -> None:
    """Print the crops per second of both, and their ratio."""
    settings = {"batch_size": args.batch_size, "num_workers": args.num_workers}
    data = make_data(args, folder, args.images, **settings)
    pairs = data.train_dataloader().dataset.pairs  # type: ignore[attr-defined]
    shorter = np.median([min(Image.open(pair.image).size) for pair in pairs])
    crop = random_crop.RandomCrop(args.crop_size, scales=(BASE / 2 / shorter, 2 * BASE / shorter))
    data = make_data(args, folder, args.images, **settings, augmentation=crop)
    reference = DataLoader(
        ReferenceCrops(pairs, args.crop_size),
        args.batch_size,
        shuffle=True,
        num_workers=args.num_workers,
        persistent_workers=args.num_workers > 0,
    )

    def rate(variant: str) -> float:
        if variant == "reference":
            return images_per_second(reference, lambda batch: batch[0])
        return images_per_second(data.train_dataloader(), lambda batch: data.transform(batch, training=True)["image"])

    rates = take_turns(("ours", "reference"), args.rounds, rate, "{:8.1f} images per second".format)
    ratios = ratios_by_round(rates, "ours", "reference")
    print(f"\n{len(pairs)} images, batches of {args.batch_size} at {args.crop_size}, {args.num_workers} workers")
    for variant, of_rounds in rates.items():
        print(f"{variant:9} {np.median(of_rounds):8.1f} images per second")
    print(f"reading ratio ours/reference: {np.median(ratios):.2f} ({spread(ratios, 2)})")


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.segmentation",
        description=f"Compare, on the CPU, a training step of DeepLabV3 at 2x3x{STEP_SIZE}x{STEP_SIZE} under the "
        "shared Trainer with one of a loop by hand, and the reading of training crops with torchvision's reference "
        "transforms on the same files. Blocks alternate in one process.",
    )
    parser.add_argument("--parts", nargs="+", choices=["steps", "reading"], default=["steps", "reading"])
    add_block_arguments(parser, steps=10, warmup=2, rounds=3)
    parser.add_argument(
        "--backbone", choices=["resnet50", "mobilenet_v3_large"], default="resnet50", help="(default: %(default)s)"
    )
    parser.add_argument("--images", type=positive, default=320, help="images to generate (default: %(default)s)")
    parser.add_argument("--batch-size", type=positive, default=16, help="crops of a batch (default: %(default)s)")
    parser.add_argument("--crop-size", type=positive, default=513, help="their side (default: %(default)s)")
    parser.add_argument("--num-workers", type=int, default=2, help="processes that read (default: %(default)s)")
    parser.add_argument("--data-root", type=Path, help="a folder like VOC2012; without it, images are generated")
    return parser.parse_args(args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    print(describe(named(args.data_root, "generated images")), flush=True)
    quiet()
    with tempfile.TemporaryDirectory(prefix="segmentation_") as folder:
        if "steps" in args.parts:
            measure_steps(args, Path(folder))
        if "reading" in args.parts:
            measure_reading(args, Path(folder))


if __name__ == "__main__":
    run_command(main, "no figures")
