"""The record of what a detection has finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.writers.journal import JOURNAL_NAME, Journal

RECORD = {"key": "k", "files": {}, "regions": 2, "defective_fraction": 0.5, "seconds": 1.0,
          "rows": [{"label": 1}, {"label": 2}], "thumbnail": ""}  # fmt: skip


def test_what_was_recorded_is_found_by_another_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.find(tmp_path / "a.png") is None
    journal.add(tmp_path / "a.png", RECORD)
    journal.add(tmp_path / "b.png", {**RECORD, "rows": []})
    journal.add(tmp_path / "a.png", {**RECORD, "key": "new"})
    for reader in (journal, Journal(tmp_path)):
        found = reader.find(tmp_path / "a.png")
        assert found is not None
        assert (found["key"], found["regions"]) == ("new", 2)
        paths = [tmp_path / name for name in ("b.png", "a.png", "missing.png")]
        assert list(reader.rows(paths)) == RECORD["rows"]
        (entry,) = reader.entries([(tmp_path / "b.png", "b")])
        assert (entry.name, entry.regions, entry.defective_fraction) == ("b", 2, 0.5)


@pytest.mark.parametrize("torn", [b'\n{"image": "/x", "key', b"\n[1]\n", b"\xff\xfe\n", b"\n\n"])
def test_a_line_that_was_cut_off_costs_nothing_else(torn: bytes, tmp_path: Path) -> None:
    Journal(tmp_path).add(tmp_path / "a.png", RECORD)
    with (tmp_path / JOURNAL_NAME).open("ab") as stream:
        stream.write(torn)
    Journal(tmp_path).add(tmp_path / "b.png", RECORD)
    journal = Journal(tmp_path)
    assert journal.find(tmp_path / "a.png") is not None
    assert journal.find(tmp_path / "b.png") is not None


def test_a_journal_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(InputError, match="folder"):
        Journal(tmp_path).add(tmp_path / "a.png", RECORD)
