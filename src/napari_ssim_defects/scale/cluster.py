"""Detection by the workers of a dask.distributed cluster, one image at a time each.

Workers read the images and write the results. The model is sent to each of them once, also to
workers that join later or restart. Another worker repeats the unfinished image of a killed one.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import dask
import torch
from distributed import Client, Future, WorkerPlugin, get_worker
from distributed.scheduler import KilledWorker

from ..core.common.errors import InputError
from ..core.common.progress import drained
from ..core.model.defect_model import DefectModel
from ..core.networks.precision import fast_dtype, use_dtype
from ..io.artifacts.recipe import DetectionSettings
from ..io.writers.journal import Journal, Record
from ..io.writers.results import ResultWriter
from .file_detection import (
    FileDone,
    FileFailed,
    FileProgress,
    NotWritten,
    Target,
    detect_file,
    file_done,
)

__all__ = ["detect_on_cluster"]

_CPU = torch.device("cpu")
_PATIENCE = 30  # seconds that the scheduler may take to answer,
_TRY = 3  # seconds per attempt, so that it can be cancelled in between
_PULSE = 0.3  # seconds between messages while nothing happens


def detect_on_cluster(
    address: str,
    model: DefectModel,
    settings: DetectionSettings,
    targets: Sequence[Target],
    folder: Path,
    journal: Journal,
) -> Iterator[FileProgress | FileDone | FileFailed]:
    """Detect defects in images on the workers of a scheduler.

    Parameters
    ----------
    address
        Of the scheduler, such as ``"tcp://10.0.0.1:8786"``.
    model, settings, targets
        As for `detect_file`.
    folder
        Where results are written; images and folder have the same paths everywhere.
    journal
        Where finished images are recorded, by this process alone.

    Yields
    ------
    FileProgress, FileDone or FileFailed
        In the order in which images are finished, and progress about three times a second.

    Raises
    ------
    InputError
        If the scheduler cannot be reached, or a worker cannot write.
    """
    waiting = FileProgress(targets[0].path, 0.0)
    client = yield from _connected(address, waiting)
    with client:
        plugin = ModelPlugin(model)
        client.register_plugin(plugin, name=plugin.name)
        try:
            futures = {
                client.submit(_detect, plugin.name, settings, _absolute(target), folder.absolute(),
                              pure=False): target
                for target in targets
            }  # fmt: skip
            ended: SimpleQueue[Future[Any]] = SimpleQueue()
            for future in futures:
                future.add_done_callback(ended.put)
            number = 0
            while number < len(targets):
                try:
                    future = ended.get(timeout=_PULSE)
                except Empty:
                    yield waiting
                    continue
                number += 1
                target = futures[future]
                problem = future.exception()
                if isinstance(problem, KilledWorker):
                    yield FileFailed(target.path, _killed(target.path))
                elif isinstance(problem, InputError) and not isinstance(problem, NotWritten):
                    yield FileFailed(target.path, str(problem))
                elif problem is not None:
                    raise problem
                else:
                    record: Record = future.result()
                    journal.add(target.path, record)
                    yield file_done(record, target.path, folder)
                future.release()
                waiting = FileProgress(target.path, number / len(targets))
                yield waiting
        finally:
            client.unregister_worker_plugin(plugin.name)


def _connected(address: str, waiting: FileProgress) -> Generator[FileProgress, None, Client]:
    """Ask a scheduler until it answers or the time is up."""
    patience = min(_TRY, _PATIENCE)
    for left in reversed(range(math.ceil(_PATIENCE / patience))):
        yield waiting
        try:
            return Client(address, timeout=patience, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            if left and isinstance(error, OSError):
                continue
            raise InputError(
                f"The scheduler '{address}' cannot be reached ({' '.join(str(error).split())}); "
                "check its address, and that it runs."
            ) from error
    raise AssertionError("there is always a last try")


def _absolute(target: Target) -> Target:
    """Return the target with an absolute path, which is valid for every worker."""
    return Target(target.path.absolute(), target.stem, target.name)


class ModelPlugin(WorkerPlugin):
    """Sends a model to every worker, and the number format that all of them use."""

    def __init__(self, model: DefectModel) -> None:
        self.name = f"napari-ssim-defects-{model.digest}"
        self.model = model
        self._dtype = fast_dtype(_CPU)  # workers could measure different fastest formats

    def setup(self, worker: object) -> None:
        """Prepare the process of a worker."""
        use_dtype(_CPU, self._dtype)

    def teardown(self, worker: object) -> None:
        """Undo `setup`."""
        use_dtype(_CPU, None)


def _detect(name: str, settings: DetectionSettings, target: Target, folder: Path) -> Record:
    """Detect defects in an image on a worker."""
    plugin: Any = get_worker().plugins[name]
    # The blocks of an image are computed by this worker: the images are what is distributed.
    with dask.config.set(scheduler="synchronous"):
        writer = ResultWriter(folder, settings.outputs)
        _, record = drained(detect_file(plugin.model, settings, target, writer))
        return record


def _killed(path: Path) -> str:
    return (
        f"'{path}' was skipped: several workers died while inspecting it; give them more memory, "
        "or inspect it alone."
    )
