"""Arrays that do not fit into memory are refused before they are allocated."""

import pytest

from mmfusion import _memory
from mmfusion._memory import (
    UNCHECKED_BYTES,
    available_bytes,
    check_fits,
    in_units,
)


def test_the_error_names_size_and_remedy():
    check_fits(1, "a number", "take less")
    with pytest.raises(
        ValueError, match=r"^a table needs 8\.0 PiB of memory, and .* take less$"
    ):
        check_fits(2**53, "a table", "take less")


def test_limits_are_not_read_for_small_arrays(monkeypatch):
    monkeypatch.setattr(_memory, "available_bytes", lambda: 0)
    check_fits(UNCHECKED_BYTES, "a small table", "take less")
    with pytest.raises(ValueError, match="a table needs 16 MiB"):
        check_fits(UNCHECKED_BYTES + 1, "a table", "take less")


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(_memory, "CONTROL_GROUPS", (limit,))
    free = available_bytes()
    for content, expected in (("4096\n", 4096), ("max\n", None), ("", None)):
        limit.write_text(content)
        if expected is not None:
            assert available_bytes() == expected
        elif free is not None:
            assert available_bytes() > 4096


def test_nothing_is_refused_if_the_system_reports_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(_memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(_memory, "CONTROL_GROUPS", ())
    monkeypatch.delattr(_memory.os, "sysconf")
    assert available_bytes() is None
    check_fits(2**60, "a table", "take less")


@pytest.mark.parametrize(
    ("n_bytes", "expected"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**60, "1024 PiB")],
)
def test_sizes_have_units(n_bytes, expected):
    assert in_units(n_bytes) == expected
