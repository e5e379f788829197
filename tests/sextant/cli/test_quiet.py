"""What libraries say by themselves is left out; what matters is not."""

import io
import logging
import warnings

import lightning.pytorch  # noqa: F401 has the handlers
import pytest

from sextant.cli.quiet import quiet_libraries

SAID = ("Seed set to 0", "GPU available: False, used: False", "Tip: ... try installing [litlogger](https://...)")


@pytest.mark.parametrize("set_up_before", [False, True])
def test_only_what_matters_is_written_and_without_a_level(monkeypatch: pytest.MonkeyPatch, set_up_before: bool) -> None:
    """Also where another library has set up logging before, and Lightning's messages take another way."""
    written = io.StringIO()
    outer, inner = logging.getLogger("lightning"), logging.getLogger("lightning.pytorch")
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    monkeypatch.setattr(outer, "handlers", [handler] if set_up_before else [])
    monkeypatch.setattr(inner, "handlers", [] if set_up_before else [handler])
    monkeypatch.setattr(inner, "propagate", set_up_before)
    with warnings.catch_warnings():
        quiet_libraries()
    for message in (*SAID, "Embedding tables: 26 row_wise"):
        logging.getLogger("lightning.pytorch.somewhere").info(message)
    assert written.getvalue() == "Embedding tables: 26 row_wise\n"


def test_what_torchrec_says_of_copied_tables_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        quiet_libraries()
    logging.warning("Sharding spec not found for tables.C9")
    logging.getLogger("torchrec.distributed.utils").warning("Sharding Type is data_parallel")
    logging.warning("something else")
    assert caplog.messages == ["something else"]


def test_warnings_are_left_out_by_what_they_say(recwarn: pytest.WarningsRecorder) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        quiet_libraries()
        warnings.warn("The 'train_dataloader' does not have many workers which may be a bottleneck.", stacklevel=1)
        warnings.warn("The loss is not finite.", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["The loss is not finite."]
