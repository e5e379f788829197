"""The subsets of LibriSpeech that a run reads, and where the published ones are to be had."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.sources.archive import Archive, download, extract

TOP = "LibriSpeech"  # the folder in each archive
URL = "https://www.openslr.org/resources"
# Panayotov et al. 2015. Sizes and SHA-256 as torchaudio and TensorFlow Datasets pin them; MD5 from openslr.org/31.
ARCHIVES = {
    "train-clean-5": Archive(
        f"{URL}/31/train-clean-5.tar.gz",
        332_954_390,
        md5="5df7d4e78065366204ca6845bb08f490",
    ),
    "dev-clean-2": Archive(
        f"{URL}/31/dev-clean-2.tar.gz",
        126_046_265,
        md5="6d7ab67ac6a1d2c993d050e16d61080d",
    ),
    "train-clean-100": Archive(
        f"{URL}/12/train-clean-100.tar.gz",
        6_387_309_499,
        sha256="d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    ),
    "train-clean-360": Archive(
        f"{URL}/12/train-clean-360.tar.gz",
        23_049_477_885,
        sha256="146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    ),
    "train-other-500": Archive(
        f"{URL}/12/train-other-500.tar.gz",
        30_593_501_606,
        sha256="ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    ),
    "dev-clean": Archive(
        f"{URL}/12/dev-clean.tar.gz",
        337_926_286,
        sha256="76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    ),
    "dev-other": Archive(
        f"{URL}/12/dev-other.tar.gz",
        314_305_928,
        sha256="12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    ),
    "test-clean": Archive(
        f"{URL}/12/test-clean.tar.gz",
        346_663_984,
        sha256="39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    ),
    "test-other": Archive(
        f"{URL}/12/test-other.tar.gz",
        328_757_843,
        sha256="d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    ),
}


@dataclass(frozen=True)
class Subsets:
    """The subsets of each split, by the names of their folders.

    Args:
        train: subsets for training.
        val: subsets for validation.
        test: subsets for ``test``.
        shards: read the training utterances from WebDataset tar shards instead of ``train``, such as
            ``data/shards/train-clean-5-{000000..000031}.tar``; ``python -m datamodules.speech.write_shards`` writes
            them. Their batches (:class:`~sextant.samplers.stream.DynamicBatchStream`) are not counted beforehand.
    """

    train: Sequence[str] = ("train-clean-5",)
    val: Sequence[str] = ("dev-clean-2",)
    test: Sequence[str] = ("test-clean",)
    shards: str | None = None

    @property
    def folders(self) -> dict[str, Sequence[str]]:
        """The subsets of each split that are read from folders."""
        return {"train": () if self.shards else self.train, "val": self.val, "test": self.test}

    def download(self, root: Path) -> None:
        """Download, verify and extract the published subsets that are not there.

        Args:
            root: the folder that holds the subsets; archives are kept beside it.

        Raises:
            InputError: a download failed.
        """
        for name in {name for names in self.folders.values() for name in names}:
            if name in ARCHIVES and not (root / name).exists():
                archive = root.parent / f"{name}.tar.gz"
                download(ARCHIVES[name], archive)
                extract(archive, root / name, f"{TOP}/{name}")
