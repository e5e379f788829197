"""The folder of an archive is extracted whole and to its place, or not at all."""

import os
import shutil
import signal
import zipfile
from pathlib import Path

import pytest

from datamodules.sources.archive import extract
from sextant.errors import InputError
from tests.datamodules.sources.archives import CONTENT, assert_whole, make_tar, make_zip
from tests.filesystem import listing
from tests.processes import in_fork


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz"])
def test_folder_of_an_archive_is_extracted_and_nothing_else(tmp_path: Path, name: str) -> None:
    make = make_zip if name.endswith("zip") else make_tar
    archive = make(tmp_path / name, CONTENT | {"other/0.txt": b"0", "other.txt": b"1"})
    extract(archive, tmp_path / "place" / "data", "top")
    assert_whole(tmp_path / "place" / "data")
    assert {path.name for path in (tmp_path / "place").iterdir()} <= {"data", ".data.lock"}


def test_folder_that_was_extracted_is_not_extracted_again(published: Path, tmp_path: Path) -> None:
    extract(published, tmp_path / "data", "top")
    inode = (tmp_path / "data").stat().st_ino
    published.unlink()
    extract(published, tmp_path / "data", "top")
    assert (tmp_path / "data").stat().st_ino == inode


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "top/folder/../../../../evil", "{tmp_path}/evil"])
def test_zip_entry_that_leads_out_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    entry = name.format(tmp_path=tmp_path)
    archive = make_zip(tmp_path / "data.zip", CONTENT | {entry: b"evil"})
    before = listing(tmp_path)
    with pytest.raises(InputError, match="leads out of the folder") as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert repr(entry) in str(error.value)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["../evil", "top/../../evil"])
def test_tar_member_that_leads_out_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    archive = make_tar(tmp_path / "data.tar", CONTENT | {name: b"evil"})
    before = listing(tmp_path)
    with pytest.raises(InputError) as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert repr(name) in str(error.value)
    assert listing(tmp_path) == before


def test_tar_link_that_leads_out_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "data.tar", CONTENT | {"top/link/evil": b"evil"}, links={"top/link": "../../.."})
    before = listing(tmp_path)
    with pytest.raises(InputError, match="'top/link'"):
        extract(archive, tmp_path / "data", "top")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9])
def test_truncated_archive_is_named_and_nothing_is_kept(tmp_path: Path, name: str, fraction: float) -> None:
    archive = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name, CONTENT)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(InputError) as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert listing(tmp_path) == [name]


@pytest.mark.parametrize(
    "compression",
    [
        pytest.param(zipfile.ZIP_DEFLATED, id="deflated"),
        pytest.param(zipfile.ZIP_LZMA, id="lzma"),
    ],
)
def test_zip_with_one_damaged_byte_never_gives_wrong_files_nor_another_error_than_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    monkeypatch.setattr(
        "datamodules.sources.archive.tqdm", lambda names, **_: names
    )  # a thousand bars would hide a failure
    entries = {f"top/{k}.txt": f"content of file {k} ".encode() * 3 for k in range(2)}
    archive = make_zip(tmp_path / "data.zip", entries, compression)
    content = archive.read_bytes()
    destination = tmp_path / "data"
    unexpected: dict[str, int] = {}
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        archive.write_bytes(damaged)
        try:
            extract(archive, destination, "top")
        except InputError:
            pass
        except Exception as error:
            unexpected[f"{type(error).__name__}: {error}"] = position
        else:
            # An entry may be lost when the directory at the end is damaged, which has no check sum.
            assert {(f"top/{file.name}", file.read_bytes()) for file in destination.iterdir()} <= {*entries.items()}
            shutil.rmtree(destination)
        assert listing(tmp_path) == ["data.zip"]
    assert not unexpected, f"other errors, each with the position of a byte that causes it: {unexpected}"


@pytest.mark.parametrize("name", ["data.zip", "data.tar"])
def test_archive_without_the_folder_is_named_and_nothing_is_kept(tmp_path: Path, name: str) -> None:
    make = make_zip if name.endswith("zip") else make_tar
    archive = make(tmp_path / name, {"other/0.txt": b"0", "top": b"a file, no folder"})
    with pytest.raises(InputError, match="holds no folder 'top'") as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert listing(tmp_path) == [name]


def test_file_that_is_no_archive_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    archive.write_text("<html>404 Not Found</html>")
    with pytest.raises(InputError, match="neither a zip nor a tar archive") as error:
        extract(archive, tmp_path / "data", "top")
    assert str(archive) in str(error.value)
    assert listing(tmp_path) == ["data.zip"]


def test_interrupted_extraction_leaves_nothing_and_the_next_one_is_whole(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    extract_entry = zipfile.ZipFile.extract
    done: list[str] = []

    def interrupted(self: zipfile.ZipFile, member: str, folder: Path) -> str:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(member)
        return extract_entry(self, member, folder)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(zipfile.ZipFile, "extract", interrupted)
        extract(published, place / "data", "top")
    assert len(done) == 3
    assert listing(place) == []
    extract(published, place / "data", "top")
    assert_whole(place / "data")


def test_killed_extraction_leaves_no_half_folder_and_the_next_one_is_whole(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    extract_entry = zipfile.ZipFile.extract
    done: list[str] = []

    def killed(self: zipfile.ZipFile, member: str, folder: Path) -> str:
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(member)
        return extract_entry(self, member, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", killed)
        code, _ = in_fork(lambda: extract(published, place / "data", "top"))
    assert code == -signal.SIGKILL
    assert not (place / "data").exists()
    assert len([name for name in listing(place) if name.endswith(".txt")]) == 3, "not killed in the middle"
    extract(published, place / "data", "top")
    assert_whole(place / "data")
    assert {path.name for path in place.iterdir()} <= {"data", ".data.lock"}


def test_stale_part_of_an_extraction_is_cleared_away(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    stale = place / ".data.abcd_123.part" / "top" / "folder"
    stale.mkdir(parents=True)
    (stale / "0.txt").write_bytes(b"half")
    extract(published, place / "data", "top")
    assert_whole(place / "data")
    assert {path.name for path in place.iterdir()} <= {"data", ".data.lock"}


@pytest.mark.parametrize("name", ["data.zip", "data.tar"])
def test_disk_that_fills_up_while_extracting_is_an_input_error_and_nothing_is_kept(tmp_path: Path, name: str) -> None:
    archive = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name, CONTENT | {"top/large": bytes(100_000)})
    _, error = in_fork(lambda: extract(archive, tmp_path / "data", "top"), largest_file=50_000)
    assert isinstance(error, InputError)
    assert str(archive) in str(error)
    assert str(tmp_path / "data") in str(error)
    assert listing(tmp_path) == [name]


@pytest.mark.parametrize("name", ["data.zip", "data.tar"])
def test_entry_for_a_sibling_folder_whose_name_begins_alike_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    part = tmp_path / ".data.abcd_123.part"

    def make_part(**_: object) -> str:
        part.mkdir()
        return str(part)

    entry = f"../{part.name}-evil/0.txt"
    archive = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name, CONTENT | {entry: b"evil"})
    monkeypatch.setattr("tempfile.mkdtemp", make_part)  # as if the name could be foreseen
    with pytest.raises(InputError, match="leads out of the folder") as error:
        extract(archive, tmp_path / "data", "top")
    assert repr(entry) in str(error.value)
    assert listing(tmp_path) == [name]
