"""What is allowed with a table is checked where it is said."""

from typing import Any

import pytest

from sextant.errors import InputError
from sextant.strategies.table_constraints import Devices, TableConstraints


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sharding_types": []}, "an empty list allows nothing"),
        ({"compute_kernels": []}, "an empty list allows nothing"),
        ({"min_columns": 6}, "min_columns is 6; it must be a multiple of 4"),
        ({"min_columns": 0}, "min_columns is 0; it must be a multiple of 4"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TableConstraints(**settings)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_memory_of_devices_is_that_which_is_planned_with(kind: str) -> None:
    topology = Devices(kind, 4, 2, 12345).topology()
    assert (topology.world_size, topology.local_world_size, topology.compute_device) == (4, 2, kind)
    for device in topology.devices:
        assert (device.storage.hbm if kind == "cuda" else device.storage.ddr) == 12345
