"""Images of any kind become one array, which is built once and always belongs to the files that are there."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images.image_cache import ImageCache
from datamodules.sources.invalid_samples import NAMED
from sextant.errors import InputError
from tests.filesystem import cut_in_half, listing, snapshot
from tests.noise_images import noise, save_images
from tests.processes import in_fork

Edit = Callable[[list[Path]], list[Path]]


def array_of(files: list[Path], cache: Path, size: int = 64, name: str = "test", skip: bool = False) -> ImageCache:
    return ImageCache(files, size, cache, name, "skip" if skip else "error")


def decode(file: Path, size: int = 64) -> np.ndarray:
    """One image as the array gives it, uint8 (3, size, size)."""
    batch = array_of([file], file.parent / "cache", size)[[0]]
    assert batch.dtype == torch.uint8
    assert batch.shape == (1, 3, size, size)
    return batch[0].numpy()


def read_array(array: ImageCache) -> np.ndarray:
    return array[range(len(array))].numpy()


def pixels(file: Path) -> np.ndarray:
    """One image as Pillow decodes it, uint8 (3, H, W)."""
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def stored(cache: Path) -> list[str]:
    """The folders in a cache."""
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return save_images(tmp_path / "images", 6)


def test_rgb_jpeg_of_the_right_size_is_decoded_exactly_as_by_pillow(files: list[Path], cache: Path) -> None:
    array = array_of(files, cache)
    assert len(array) == 6
    assert array.files == files
    assert array.indices.tolist() == list(range(6))
    np.testing.assert_array_equal(read_array(array), np.stack([pixels(file) for file in files]))


def test_batch_holds_the_images_that_were_asked_for_in_that_order(files: list[Path], cache: Path) -> None:
    batch = array_of(files, cache)[[4, 0, 4, 5]]
    assert batch.dtype == torch.uint8
    np.testing.assert_array_equal(batch.numpy(), np.stack([pixels(files[i]) for i in [4, 0, 4, 5]]))


def test_more_images_than_one_chunk_keep_their_order(files: list[Path], cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datamodules.images.image_cache.CHUNK", 4)
        array = array_of(files, cache)
    np.testing.assert_array_equal(read_array(array), np.stack([pixels(file) for file in files]))


def test_grayscale_gives_three_equal_channels(tmp_path: Path) -> None:
    gray = noise(0, 64, 64)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(decode(tmp_path / "gray.png"), np.stack([gray] * 3))


@pytest.mark.parametrize(("name", "mode"), [("gray.png", "I;16"), ("gray.tif", "I;16B")])
def test_16_bit_grayscale_keeps_its_shades(tmp_path: Path, name: str, mode: str) -> None:
    gray = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    Image.fromarray(gray.astype(">u2" if mode == "I;16B" else "<u2")).save(tmp_path / name)
    with Image.open(tmp_path / name) as saved:
        assert saved.mode == mode
    np.testing.assert_allclose(decode(tmp_path / name), np.stack([gray / 257] * 3), atol=1)


def test_palette_gives_the_colors_of_the_palette(tmp_path: Path) -> None:
    palette = noise(0, 256, 3)
    index = noise(1, 64, 64)
    image = Image.fromarray(index)
    image.putpalette(palette.tobytes())
    assert image.mode == "P"
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(decode(tmp_path / "palette.png"), palette[index].transpose(2, 0, 1))


def test_opaque_rgba_gives_its_colors(tmp_path: Path) -> None:
    colors = noise(0, 64, 64, 4)
    colors[:, :, 3] = 255
    Image.fromarray(colors).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(decode(tmp_path / "rgba.png"), colors[:, :, :3].transpose(2, 0, 1))


def test_cmyk_jpeg_gives_the_colors_that_it_shows(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), (200, 60, 30)).convert("CMYK")
    image.save(tmp_path / "cmyk.JPEG", quality=95)
    with Image.open(tmp_path / "cmyk.JPEG") as saved:
        assert saved.mode == "CMYK"
    np.testing.assert_allclose(decode(tmp_path / "cmyk.JPEG").mean((1, 2)), [200, 60, 30], atol=5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
@pytest.mark.parametrize("size", [(64, 64), (300, 200), (20, 30), (1, 500), (1, 1)])
def test_image_of_any_mode_and_size_becomes_uint8_rgb(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    image = Image.fromarray(noise(0, size[1], size[0], 3))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    image.convert(mode).save(tmp_path / "image.tif")
    with Image.open(tmp_path / "image.tif") as saved:
        assert saved.mode == mode
    assert decode(tmp_path / "image.tif").shape == (3, 64, 64)


def test_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "animation.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(tmp_path / "animation.gif")[:, 5, 5], [255, 0, 0])


def test_image_of_another_shape_is_cropped_to_the_center(tmp_path: Path) -> None:
    wide = noise(0, 64, 128, 3)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(decode(tmp_path / "wide.png"), wide[:, 32:96].transpose(2, 0, 1))


def test_larger_image_is_made_smaller_without_aliasing(tmp_path: Path) -> None:
    board = np.indices((512, 512)).sum(0) % 2 * 255  # of single pixels, so that each sampled one is black or white
    Image.fromarray(board.astype(np.uint8)).save(tmp_path / "board.png")
    np.testing.assert_allclose(decode(tmp_path / "board.png")[:, 2:-2, 2:-2], 127.5, atol=2)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a)),
    ],
)
@pytest.mark.parametrize("suffix", ["JPEG", "png"])
def test_image_is_turned_as_its_exif_orientation_says(
    tmp_path: Path, suffix: str, orientation: int, turn: Callable[[np.ndarray], np.ndarray]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"photo.{suffix}"
    Image.fromarray(noise(0, 64, 64, 3)).save(file, exif=exif)
    with Image.open(file) as opened:
        as_stored = np.asarray(opened)
    np.testing.assert_array_equal(decode(file), turn(as_stored).transpose(2, 0, 1))


def damage(files: list[Path]) -> None:
    """Truncate image 1, replace image 3 by text and image 4 by nothing."""
    cut_in_half(files[1])
    files[3].write_text("not an image")
    files[4].write_bytes(b"")


def test_invalid_images_are_counted_and_named_in_the_error(files: list[Path], cache: Path) -> None:
    damage(files)
    with pytest.raises(InputError, match="3 of 6 images cannot be used") as error:
        array_of(files, cache)
    message = str(error.value)
    assert [str(file) in message for file in files] == [False, True, False, True, True, False]
    assert "truncated" in message
    assert "--data.invalid_samples=skip" in message


def test_many_invalid_images_are_counted_and_the_first_ones_named(tmp_path: Path, cache: Path) -> None:
    files = save_images(tmp_path / "images", NAMED + 3)
    for file in files[:-1]:
        file.write_text("not an image")
    with pytest.raises(InputError, match=f"{NAMED + 2} of {NAMED + 3} images") as error:
        array_of(files, cache)
    assert str(files[NAMED - 1]) in str(error.value)
    assert str(files[NAMED]) not in str(error.value)
    assert "and 2 more" in str(error.value)


@pytest.mark.parametrize("again", [False, True])
def test_invalid_images_can_be_left_out_with_a_warning(files: list[Path], cache: Path, again: bool) -> None:
    damage(files)
    if again:  # the second run finds the array and must warn all the same
        with pytest.warns(UserWarning, match="3 of 6 images"):
            array_of(files, cache, skip=True)
    with pytest.warns(UserWarning, match="3 of 6 images cannot be used") as warned:
        array = array_of(files, cache, skip=True)
    assert str(files[3]) in str(warned[0].message)
    valid = [files[0], files[2], files[5]]
    assert len(array) == 3
    assert array.files == valid
    assert array.indices.tolist() == [0, 2, 5]
    np.testing.assert_array_equal(read_array(array), np.stack([pixels(file) for file in valid]))


def test_array_that_was_built_while_skipping_is_an_error_when_not_skipping(files: list[Path], cache: Path) -> None:
    damage(files)
    with pytest.warns(UserWarning, match="left out"):
        array_of(files, cache, skip=True)
    with pytest.raises(InputError, match="3 of 6 images cannot be used"):
        array_of(files, cache)


def test_repaired_images_are_read_after_the_error(files: list[Path], cache: Path) -> None:
    whole = files[1].read_bytes()
    cut_in_half(files[1])
    with pytest.raises(InputError, match="1 of 6 images"):
        array_of(files, cache)
    files[1].write_bytes(whole)
    np.testing.assert_array_equal(array_of(files, cache)[[1]][0].numpy(), pixels(files[1]))


def test_error_when_no_image_can_be_read_even_if_they_may_be_left_out(files: list[Path], cache: Path) -> None:
    for file in files:
        file.write_text("not an image")
    with pytest.warns(UserWarning, match="6 of 6"), pytest.raises(InputError, match="None of 6 images") as error:
        array_of(files, cache, skip=True)
    assert str(files[0].parent) in str(error.value)


def test_link_that_leads_nowhere_is_named_as_invalid(files: list[Path], cache: Path) -> None:
    files[2].unlink()
    files[2].symlink_to("moved-away.JPEG")
    with pytest.raises(InputError, match="1 of 6 images cannot be used") as error:
        array_of(files, cache)
    assert str(files[2]) in str(error.value)


def test_file_name_that_is_not_utf8_is_read_like_any_other(files: list[Path], cache: Path) -> None:
    odd = files[0].rename(files[0].parent / os.fsdecode(b"caf\xe9.JPEG"))
    array = array_of([odd, *files[1:]], cache)
    np.testing.assert_array_equal(array[[0]][0].numpy(), pixels(odd))


def test_array_is_not_built_again_when_nothing_changed(files: list[Path], cache: Path) -> None:
    first = array_of(files, cache)
    before = snapshot(first.folder)
    inode = (first.folder / "images.u8").stat().st_ino
    second = array_of(files, cache)
    assert second.folder == first.folder
    assert snapshot(second.folder) == before
    assert (second.folder / "images.u8").stat().st_ino == inode


def change(files: list[Path]) -> list[Path]:
    Image.fromarray(noise(99, 64, 64, 3)).save(files[2])
    return files


def change_keeping_the_length(files: list[Path]) -> list[Path]:
    """Exchange the content for one of the same length, so that only the time of change tells."""
    before = files[2].stat()
    content = bytearray(files[2].read_bytes())
    content[-100] ^= 1
    files[2].write_bytes(content)
    os.utime(files[2], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    return files


def change_keeping_the_time(files: list[Path]) -> list[Path]:
    before = files[2].stat()
    Image.fromarray(noise(99, 64, 64)).save(files[2])  # grayscale, so shorter
    os.utime(files[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    return files


def add(files: list[Path]) -> list[Path]:
    Image.fromarray(noise(99, 64, 64, 3)).save(files[0].parent / "new.JPEG")
    return [*files, files[0].parent / "new.JPEG"]


def remove(files: list[Path]) -> list[Path]:
    files[2].unlink()
    return files[:2] + files[3:]


def exchange_names(files: list[Path]) -> list[Path]:
    assert files[2].stat().st_size != files[3].stat().st_size
    files[2].rename(files[2].parent / "x")
    files[3].rename(files[2])
    (files[2].parent / "x").rename(files[3])
    return files


@pytest.mark.parametrize(
    "edit", [change, change_keeping_the_length, change_keeping_the_time, add, remove, exchange_names]
)
def test_array_is_built_anew_when_the_files_change_and_the_outdated_one_is_deleted(
    files: list[Path], cache: Path, edit: Edit
) -> None:
    outdated = array_of(files, cache)
    files = edit(files)
    array = array_of(files, cache)
    assert array.folder != outdated.folder
    assert stored(cache) == [array.folder.name]
    np.testing.assert_array_equal(read_array(array), np.stack([pixels(file) for file in files]))


def test_array_of_another_size_is_built_anew(files: list[Path], cache: Path) -> None:
    array_of(files, cache)
    array = array_of(files, cache, size=32)
    np.testing.assert_array_equal(read_array(array), np.stack([decode(file, size=32) for file in files]))
    assert stored(cache) == [array.folder.name]


def test_arrays_of_other_names_and_other_sources_are_kept(files: list[Path], tmp_path: Path, cache: Path) -> None:
    others = save_images(tmp_path / "others", 2)
    kept = [array_of(files, cache, name="train"), array_of(others, cache, name="val")]
    array_of(files, cache, name="val")
    array = array_of(change(files), cache, name="val")
    assert stored(cache) == sorted([*(a.folder.name for a in kept), array.folder.name])


def test_array_in_use_is_still_read_after_it_was_replaced(files: list[Path], cache: Path) -> None:
    before = np.stack([pixels(file) for file in files])
    array = array_of(files, cache)
    assert len(array[[0]]) == 1
    array_of(change(files), cache)
    np.testing.assert_array_equal(read_array(array), before)


def test_nothing_is_written_beside_the_images(files: list[Path], cache: Path) -> None:
    folder = files[0].parent
    for file in files:
        file.chmod(0o444)
    folder.chmod(0o555)
    before = snapshot(folder)
    array = array_of(files, cache)
    assert len(read_array(array)) == 6
    assert snapshot(folder) == before
    folder.chmod(0o755)


def test_full_disk_is_an_input_error_that_leaves_nothing_behind_and_keeps_the_older_array(
    files: list[Path], cache: Path
) -> None:
    older = array_of(files, cache)
    before = listing(cache)
    content = (older.folder / "images.u8").read_bytes()
    files = change(files)
    _, error = in_fork(lambda: array_of(files, cache), largest_file=20_000)
    assert isinstance(error, InputError)
    assert str(cache) in str(error)
    assert "--data.cache" in str(error)
    assert listing(cache) == before
    assert (older.folder / "images.u8").read_bytes() == content
    array = array_of(files, cache)  # there is room again
    np.testing.assert_array_equal(read_array(array), np.stack([pixels(file) for file in files]))


def test_cache_that_cannot_be_made_is_an_input_error_that_names_the_setting(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the cache shall be")
    with pytest.raises(InputError, match=r"--data\.cache") as error:
        array_of(files, tmp_path / "file")
    assert str(tmp_path / "file") in str(error.value)


@pytest.mark.parametrize("used", [False, True])
def test_pickle_of_an_array_carries_no_pixels(files: list[Path], cache: Path, used: bool) -> None:
    array = array_of(files, cache)
    before = read_array(array) if used else None
    pickled = pickle.dumps(array)
    assert len(pickled) < 3 * 64 * 64, "longer than the pixels of a single image"
    loaded = read_array(pickle.loads(pickled))
    np.testing.assert_array_equal(loaded, read_array(array) if before is None else before)
