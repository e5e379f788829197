"""The command that writes utterances in LibriSpeech's layout into WebDataset tar shards.

``python -m datamodules.speech.write_shards --help`` lists its arguments.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm
from webdataset import TarWriter

from datamodules.speech.corpus import Utterance, read_subset
from datamodules.speech.log_mel import LogMel
from datamodules.speech.shards import COMMAND
from sextant.atomic_folder import make_folder
from sextant.cli.command import run_command
from sextant.errors import InputError

SEED = 0  # of the order in which examples are written


def write_shards(
    folder: Path, output: Path, count: int, sample_rate: int, invalid_samples: Literal["error", "skip"] = "error"
) -> None:
    """Write the utterances of a subset in LibriSpeech's layout into shards, in an order that is the same each time.

    The recordings are kept as they are, byte by byte. The folder of shards appears when all of them are whole.

    Args:
        folder: of the subset.
        output: the folder to make, with ``<subset>-000000.tar`` and so on.
        count: number of shards.
        sample_rate: that the recordings must have, per second.
        invalid_samples: what to do about recordings that are damaged, too short or of another format: stop
            (``error``), or leave them out with a warning (``skip``).

    Raises:
        InputError: ``output`` exists, there are fewer utterances than shards, an id has a dot, a recording is neither
            FLAC nor WAV, the disk is full, or the subset is as :func:`~datamodules.speech.corpus.read_subset` refuses
            it.
    """

    def fill(part: Path) -> Path:
        shortest = 2 * LogMel(sample_rate, 1).window  # a frame at twice the speed
        utterances = read_subset(folder, part / "manifest", sample_rate, shortest, invalid_samples)
        if not 1 <= count <= len(utterances):
            raise InputError(f"--shards is {count}; with {len(utterances)} utterances it must be 1 to that number.")
        shards = part / "shards"
        shards.mkdir()
        order = np.random.default_rng(SEED).permutation(len(utterances))
        with tqdm(total=len(order), desc=f"Writing {count} shards", unit="utterance", delay=1) as bar:
            for number, chosen in enumerate(np.array_split(order, count)):
                shard = shards / f"{folder.name}-{number:06d}.tar"
                with shard.open("wb") as file, TarWriter(file, encoder=False, mtime=0) as tar:
                    for i in chosen.tolist():
                        tar.write(_written(folder, utterances[i]))
                        bar.update()
        return shards

    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Check --root and --subset.")
    if output.exists():
        raise InputError(f"{output}: it exists. Remove it, or give another folder with --output.")
    try:
        make_folder(output, fill)
    except InputError as error:
        raise InputError(str(error).replace("--data.", "--")) from error  # a corpus speaks of train.py's options
    except OSError as error:
        raise InputError(f"{output}: the shards could not be written ({error}). Nothing was kept.") from error


def _written(folder: Path, utterance: Utterance) -> dict[str, Any]:
    """An utterance as WebDataset writes it."""
    file = folder / utterance.path
    if "." in utterance.id:
        raise InputError(
            f"{file}: its name has a dot, after which WebDataset takes everything for the suffix. Rename it, and "
            f"{utterance.id} in the *.trans.txt beside it."
        )
    suffix = file.suffix[1:].lower()
    if suffix not in ("flac", "wav"):
        raise InputError(f"{file}: shards hold FLAC and WAV, whose headers say how long they are. Convert it.")
    about = {"transcript": utterance.transcript, "speaker": utterance.speaker, "samples": utterance.samples}
    return {"__key__": utterance.id, suffix: file.read_bytes(), "json": json.dumps(about, ensure_ascii=False).encode()}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Write recordings in LibriSpeech's layout into WebDataset tar shards, to be trained on with "
        "--data.subsets.shards. The shards appear when all of them are whole.",
    )
    parser.add_argument("--root", type=Path, default=Path("data/LibriSpeech"), help="folder that holds the subset")
    parser.add_argument("--subset", required=True, help="the subset's folder, such as train-clean-5")
    parser.add_argument("--output", type=Path, required=True, help="folder to make; it must not exist")
    parser.add_argument("--shards", type=int, default=32, help="number of tar files")
    parser.add_argument("--sample_rate", type=int, default=16000, help="of the recordings, per second")
    parser.add_argument(
        "--invalid_samples",
        choices=["error", "skip"],
        default="error",
        help="stop at recordings that are damaged, too short or of another format, or leave them out",
    )
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write shards.

    Args:
        arguments: the command's arguments; those of this process if None.
    """
    args = parse(arguments)
    write_shards(args.root / args.subset, args.output, args.shards, args.sample_rate, args.invalid_samples)
    last = f"{args.shards - 1:06d}"
    print(f"To train on them: --data.subsets.shards='{args.output}/{args.subset}-{{000000..{last}}}.tar'")


if __name__ == "__main__":
    run_command(main, "no shards were written")
