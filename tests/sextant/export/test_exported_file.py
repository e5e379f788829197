"""A file and its description are whole or absent, and what was there stays until then."""

import errno
import hashlib
import json
from pathlib import Path

import pytest

from sextant.errors import InputError
from sextant.export.exported_file import ExportedFile
from tests.filesystem import require_synced


def files(folder: Path) -> dict[str, str]:
    """The contents of all files by their names, whatever is hidden among them."""
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def write(file: ExportedFile, text: str) -> None:
    with file.unfinished() as part:
        part.write_text(text)
        file.keep(part, {})


def write_half(file: ExportedFile, error: BaseException) -> None:
    with file.unfinished() as part:
        part.write_text("half of it")
        raise error


def test_kept_file_has_its_name_and_its_description_beside_it(tmp_path: Path) -> None:
    file = ExportedFile(tmp_path / "new" / "folder" / "model.onnx", ".onnx", overwrite=False)
    with file.unfinished() as part:
        part.write_text("weights")
        assert not file.path.exists()
        file.keep(part, {"format": "onnx", "names": ["a"]})
    found = files(tmp_path / "new" / "folder")
    assert json.loads(found.pop("model.onnx.json")) == {
        "file": "model.onnx",
        "file_bytes": 7,
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "format": "onnx",
        "names": ["a"],
    }
    assert found == {"model.onnx": "weights"}
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.json"])
def test_both_are_on_the_disk_before_they_have_their_names(tmp_path: Path, name: str) -> None:
    file = ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=False)
    require_synced(tmp_path / name, lambda: write(file, "weights"))


def test_file_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    with ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=False).unfinished() as part:
        part.write_text("weights")
        part.with_name("more").write_text("what a library puts beside it")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("taken", ["model.onnx", "model.onnx.json"])
def test_what_exists_is_kept_unless_told_otherwise(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("old")
    with pytest.raises(InputError, match=rf"{taken}: it exists already.*--overwrite=true"):
        ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=False)
    assert files(tmp_path) == {taken: "old"}
    file = ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=True)
    write(file, "new")
    found = files(tmp_path)
    assert found["model.onnx"] == "new"
    assert json.loads(found["model.onnx.json"])["file_bytes"] == 3
    assert len(found) == 2


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(InputError, match=r"model\.onnx: it is a folder"):
        ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=True)


@pytest.mark.parametrize("name", ["model", "model.pt", "model.onnx.json", ".onnx"])
def test_a_name_with_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        ExportedFile(tmp_path / name, ".onnx", overwrite=False)


@pytest.mark.parametrize(("name", "why"), [("taken/model", "Not a directory"), ("long" * 70, "too long")])
def test_a_path_that_no_file_can_have_is_named(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=rf"{name}\.onnx: no file can be written there \(.*{why}"):
        ExportedFile(tmp_path / f"{name}.onnx", ".onnx", overwrite=False)


def test_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    file = ExportedFile(tmp_path / "new" / "model.onnx", ".onnx", overwrite=False)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=r"model\.onnx: it could not be written \(.*Permission denied"):
        write(file, "new")


def test_what_a_killed_export_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".model.onnx.abcd.part").mkdir()
    (tmp_path / ".other.onnx.abcd.part").mkdir()
    write(ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=False), "new")
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.onnx.json", ".other.onnx.abcd.part"}


@pytest.mark.parametrize("old", [{}, {"model.onnx": "old", "model.onnx.json": "old"}])
def test_full_disk_leaves_no_half_written_file(tmp_path: Path, old: dict[str, str]) -> None:
    for name, text in old.items():
        (tmp_path / name).write_text(text)
    file = ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=True)
    kept = "What was there is as it was" if old else "No file was left behind"
    with pytest.raises(InputError, match=f"No space left on device.*{kept}"):
        write_half(file, OSError(errno.ENOSPC, "No space left on device"))
    assert files(tmp_path) == old
    assert len(list(tmp_path.iterdir())) == len(old)


def test_disk_that_is_full_for_the_description_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "model.onnx").write_text("old")
    file = ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=True)
    monkeypatch.setattr("json.dumps", refuse)
    with pytest.raises(InputError, match="No space left"):
        write(file, "new")
    assert files(tmp_path) == {"model.onnx": "old"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_interruption_leaves_nothing_and_what_was_there(tmp_path: Path, stop: type[BaseException]) -> None:
    (tmp_path / "model.onnx").write_text("old")
    file = ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=True)
    with pytest.raises(stop):
        write_half(file, stop())
    assert files(tmp_path) == {"model.onnx": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(("renamed", "left"), [(0, "old"), (1, "new")])
def test_description_is_never_beside_another_file_than_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int, left: str
) -> None:
    write(ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=False), "old")
    file = ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=True)
    replace, done = Path.replace, list[Path]()

    def fail_then(path: Path, target: Path) -> Path:
        if len(done) == renamed:
            raise OSError(errno.EIO, "Input/output error")
        done.append(target)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail_then)
    with pytest.raises(InputError, match="Input/output error"):
        write(file, "new")
    assert files(tmp_path) == {"model.onnx": left}


def test_new_file_has_a_description_of_its_own(tmp_path: Path) -> None:
    for text in ("old", "newer"):
        write(ExportedFile(tmp_path / "model.onnx", ".onnx", overwrite=True), text)
    described = json.loads((tmp_path / "model.onnx.json").read_text())
    assert described["sha256"] == hashlib.sha256(b"newer").hexdigest()
    assert len(list(tmp_path.iterdir())) == 2
