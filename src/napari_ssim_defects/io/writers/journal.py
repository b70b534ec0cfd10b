"""The images that a detection has finished, so that a stopped one can continue."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...core.common.errors import InputError
from ..files.errors import write_problem
from .report import ReportEntry
from .tables import REGION_COLUMNS

__all__ = ["JOURNAL_NAME", "Journal", "Record"]

JOURNAL_NAME = ".detection.jsonl"
"""One JSON object per line and finished image; a line that was cut off does not count."""

Record = dict[str, Any]
_KINDS = {
    "image": str, "key": str, "files": dict, "regions": int, "defective_fraction": int | float,
    "seconds": int | float, "rows": list, "thumbnail": str,
}  # fmt: skip


class Journal:
    """The finished images of a folder of results.

    Only the places of records are kept in memory, as there may be any number of regions.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_NAME
        self._places: dict[str, int] = {}
        if self._path.is_file():
            for place, record in self._records():
                self._places[record["image"]] = place

    def find(self, image: Path) -> Record | None:
        """Return the last record of an image."""
        place = self._places.get(_name(image))
        if place is None:
            return None
        with self._path.open("rb") as stream:
            stream.seek(place)
            record: Record = json.loads(stream.readline())
        return record

    def add(self, image: Path, record: Record) -> None:
        """Record that an image is finished; it is on the disk when this returns.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        line = json.dumps({**record, "image": _name(image)})
        if self._path.exists() and not (self._path.is_file() or self._path.is_dir()):
            raise InputError(
                f"Cannot write '{self._path}': it is a device or a pipe; choose another folder."
            )
        try:
            with self._path.open("ab") as stream:
                # A line that was cut off ends here.
                place = stream.tell() + 1
                stream.write(f"\n{line}\n".encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise write_problem(self._path, error) from error
        self._places[_name(image)] = place

    def rows(self, images: Iterable[Path]) -> Iterator[dict[str, object]]:
        """Yield the rows of the table of regions of these images, read one image at a time."""
        for image in images:
            record = self.find(image)
            if record is not None:
                yield from record["rows"]

    def entries(self, images: Iterable[tuple[Path, str]]) -> Iterator[ReportEntry]:
        """Yield what a report says of these images and names, read one image at a time."""
        for image, name in images:
            record = self.find(image)
            if record is not None:
                yield ReportEntry(
                    name, record["regions"], record["defective_fraction"], record["thumbnail"]
                )

    def _records(self) -> Iterator[tuple[int, Record]]:
        with self._path.open("rb") as stream:
            place = 0
            for line in stream:
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    record = None
                if _is_record(record):
                    yield place, record
                place += len(line)


def _is_record(record: Any) -> bool:
    """Whether a record has all fields that are used later; the file may come from anybody."""
    return (
        isinstance(record, dict)
        and all(isinstance(record.get(name), kind) for name, kind in _KINDS.items())
        and isinstance(record.get("notices", []), list)
        and 0 <= record["defective_fraction"] <= 1 <= record["regions"] + 1
        and all(
            isinstance(names, list) and all(isinstance(name, str) for name in names)
            for names in record["files"].values()
        )
        and all(isinstance(row, dict) and {*row} <= {*REGION_COLUMNS} for row in record["rows"])
    )


def _name(image: Path) -> str:
    return os.fspath(image.absolute())
