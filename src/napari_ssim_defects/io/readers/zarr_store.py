"""The files of a zarr folder, which may come from anybody."""

from __future__ import annotations

from typing import Any

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

__all__ = ["FilesOnly"]


class FilesOnly(LocalStore):
    """A zarr folder of which nothing but files is read.

    A device or a pipe, or a link to one, under the name of a chunk or of metadata would be read for
    ever, by a thread that cannot be stopped.
    """

    async def get(self, key: str, *args: Any, **options: Any) -> Buffer | None:
        """Read a file, or a part of it; None if there is none."""
        self._refuse_special(key)
        return await super().get(key, *args, **options)

    def get_sync(self, key: str, **options: Any) -> Buffer | None:
        """Do as `get` does."""
        self._refuse_special(key)
        return super().get_sync(key, **options)

    def _refuse_special(self, key: str) -> None:
        path = self.root / key
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f"'{path}' is a device or a pipe")
