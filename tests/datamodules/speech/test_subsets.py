"""The published subsets are pinned as others have them."""

import torchaudio.datasets.librispeech as peer

from datamodules.speech.subsets import ARCHIVES, Subsets


def test_archives_are_pinned_by_size_and_hash_as_others_have_them() -> None:
    names = {"train-clean-5", "dev-clean-2", "train-clean-100", "train-clean-360", "train-other-500"}
    names |= {"dev-clean", "dev-other", "test-clean", "test-other"}
    assert ARCHIVES.keys() == names
    for name, archive in ARCHIVES.items():
        assert archive.url.startswith("https://www.openslr.org/resources/")
        assert archive.url.endswith(f"/{name}.tar.gz")
        assert archive.size > 10**8
        if archive.sha256 is None:
            assert len(bytes.fromhex(archive.md5 or "")) == 16
        else:
            assert archive.sha256 == peer._CHECKSUMS[archive.url.replace("https", "http")]


def test_default_subsets_are_published_ones() -> None:
    assert {name for names in Subsets().folders.values() for name in names} <= ARCHIVES.keys()


def test_no_folder_is_read_for_training_where_there_are_shards() -> None:
    assert Subsets(shards="a.tar").folders == {"train": (), "val": ("dev-clean-2",), "test": ("test-clean",)}
