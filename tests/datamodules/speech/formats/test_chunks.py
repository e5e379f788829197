"""Files of chunks have the samples that their headers say, no less and no more, or are refused."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.datamodules.speech.formats.encoded import ID3V1, RATE, assert_invalid, decode, encode, noise

SOUND = noise()[::-1]  # loud at its end
#: For each format, where the number of bytes of its samples stands: a mark before it, the bytes between, and its form.
LENGTHS = {
    "WAV": (b"data", 0, "<I"),
    "WAVEX": (b"data", 0, "<I"),
    "AIFF": (b"SSND", 0, ">I"),
    "CAF": (b"data", 0, ">q"),
    "W64": (b"data", 12, "<Q"),
    "AU": (b".snd", 4, ">I"),
    "RF64": (b"ds64", 12, "<Q"),
}
FILES = {kind: encode(kind, SOUND, subtype="PCM_16") for kind in LENGTHS}


def with_length(kind: str, change: int) -> bytes:
    """A file whose header says so many bytes of samples more than there are."""
    mark, between, form = LENGTHS[kind]
    content = bytearray(FILES[kind])
    place = content.index(mark) + len(mark) + between
    struct.pack_into(form, content, place, struct.unpack_from(form, content, place)[0] + change)
    return bytes(content)


@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize("missing", [1, 2, 1000, 20_000])
def test_file_that_is_cut_is_refused(tmp_path: Path, kind: str, missing: int) -> None:
    assert len(decode(FILES[kind])) == RATE
    assert_invalid(FILES[kind][:-missing], tmp_path, "truncated")


@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize("change", [-2, -16_000, 2, 16_000, 3_000_000_000])
def test_header_that_says_another_number_of_samples_is_refused(tmp_path: Path, kind: str, change: int) -> None:
    assert_invalid(with_length(kind, change), tmp_path)


@pytest.mark.parametrize("kind", LENGTHS)
def test_file_with_another_one_or_with_junk_behind_is_refused(tmp_path: Path, kind: str) -> None:
    for behind in (FILES[kind], FILES["WAV"], b"\1\2\3\4\5\6\7\x08", SOUND.tobytes()):
        assert_invalid(FILES[kind] + behind, tmp_path, "what begins at byte .* does not belong to it")


@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize("behind", [bytes(3), bytes(1000), ID3V1])
def test_zeros_and_a_tag_behind_do_not_matter(kind: str, behind: bytes) -> None:
    np.testing.assert_array_equal(decode(FILES[kind] + behind), decode(FILES[kind]))


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
def test_chunks_around_the_samples_do_not_matter(kind: str) -> None:
    about = b"LIST" + struct.pack("<I", 13) + b"INFOICMT\1\0\0\0a\0"
    content = FILES[kind]
    place = content.index(b"fmt ")
    changes = [content + about, content + about * 2, content[:place] + about + content[place:]]
    for changed in changes[: 2 if kind == "RF64" else 3]:  # libsndfile wants RF64's format first
        np.testing.assert_array_equal(decode(changed), decode(content))


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0xFFFFFFDB, 0x80000000, 0x7FFFFFFF, 0x7FFFF000])
def test_wav_that_was_written_into_a_pipe_is_read_to_its_end(length: int) -> None:
    np.testing.assert_array_equal(decode(with_length("WAV", length - 2 * RATE)), decode(FILES["WAV"]))


@pytest.mark.parametrize("field", [22, 24, 28, 32, 34], ids=["channels", "rate", "byte rate", "align", "bits"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "ULAW"])
def test_wav_whose_header_contradicts_itself_is_refused(tmp_path: Path, field: int, subtype: str) -> None:
    content = bytearray(encode("WAV", SOUND, subtype=subtype))
    content[field] ^= 0x18
    assert_invalid(bytes(content), tmp_path, "contradicts itself")


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "ULAW", "ALAW"])
def test_wav_of_telephones_is_read_whole_and_in_parts(tmp_path: Path, subtype: str) -> None:
    content = encode("WAV", SOUND, subtype=subtype)
    whole = decode(content)
    assert RATE <= len(whole) <= RATE + 2048
    assert np.corrcoef(whole[:RATE, 0], SOUND[:, 0])[0, 1] > 0.5
    np.testing.assert_array_equal(decode(content, start=5000, stop=9000), whole[5000:9000])
    assert_invalid(content[:-100], tmp_path, "truncated")


@pytest.mark.parametrize("subtype", ["ALAC_16", "PCM_24", "FLOAT"])
def test_caf_of_other_encodings_is_read(subtype: str) -> None:
    np.testing.assert_allclose(decode(encode("CAF", SOUND, subtype=subtype)), SOUND, atol=1e-4)
