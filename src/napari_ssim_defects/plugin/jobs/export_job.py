"""The background job that writes what was found to files."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.config import OutputConfig, SegmentationConfig
from ..layers.large import LargeLabels
from ..layers.region_pictures import planes_like
from .jobs import Done, Fraction, Labelled, label_residual, outline_regions

if TYPE_CHECKING:
    from ...core.images.planes import ImageLike, Planes
    from ...core.model.corrections import Mark
    from ...core.segmentation.regions import Region
    from ...io.files.spatial import SpatialMetadata
    from ..layers import Source
    from ..layers.large import LargeResidual

__all__ = ["Exportable", "export_results"]


@dataclass(frozen=True, slots=True, eq=False)
class Exportable:
    """One heatmap to export.

    Attributes
    ----------
    name
        Name of the image layer that it came from.
    source, path
        The image and its file; None if it is gone, or has none.
    model
        Name of the model that made it.
    origin
        What the heatmap knows about model and settings.
    residual
        float32 of shape (..., H, W).
    spatial
        Its axes, distances and units.
    labels
        Committed regions, int32 of the same shape; None: segment it now.
    review, painted
        Which of them are to be reviewed, and whether a person has changed them.
    marks
        A person's marks of regions of the image.
    threshold, segmentation
        How they were segmented, or are to be.
    large, large_labels
        Instead of residual and labels those that are larger than memory; None: they are not.
    """

    name: str
    source: Source | None
    path: Path | None
    model: str
    origin: Mapping[str, Any]
    residual: ImageLike
    spatial: SpatialMetadata
    labels: ImageLike | None
    review: frozenset[int]
    painted: bool
    threshold: float
    segmentation: SegmentationConfig
    marks: tuple[Mark, ...] = ()
    large: LargeResidual | None = None
    large_labels: LargeLabels | None = None


def export_results(
    items: Sequence[Exportable], folder: Path, outputs: OutputConfig, *, overwrite: bool
) -> Generator[Fraction | Done, None, None]:
    """Write results as `ResultWriter` does; named after the image's file, or else its layer.

    Raises
    ------
    InputError
        If a file cannot be written, or is there already and must stay.
    """
    from ...io.writers.results import Result, ResultWriter, made_by, table_rows
    from ...io.writers.tables import found_by

    writer = ResultWriter(folder, outputs)
    # A heatmap whose image is gone has no picture; all else of it is written.
    kinds = tuple(kind for kind in outputs.kinds if kind != "overlay")
    without = ResultWriter(folder, outputs.replace(kinds=kinds)) if kinds else None
    bare = [item.name for item in items if "overlay" in outputs.kinds and _planes(item) is None]
    names, stems = _names(items), _stems(items)
    if not overwrite:
        writer.refuse_existing(
            (stem, item.residual.shape[:-2]) for item, stem in zip(items, stems, strict=True)
        )
    written = 0
    rows: list[dict[str, object]] = []
    for number, (item, name, stem) in enumerate(zip(items, names, stems, strict=True)):
        yield Fraction(number / len(items))
        labels: ImageLike = np.zeros(item.residual.shape, dtype=np.int32)
        regions: Sequence[tuple[int, Region]] = ()
        found: LargeLabels | None = None  # its files stay as long as it is referred to
        if outputs.kinds != ("residual",):
            for message in _regions(item):
                if isinstance(message, Labelled):
                    labels, regions = message.labels, message.regions
                elif isinstance(message, LargeLabels):
                    found, labels, regions = message, message.levels[0], message.regions
                else:
                    yield Fraction((number + message.value) / len(items))
        planes = _planes(item)
        created = item.origin.get("model_created", "")
        made = {"created": created, "training images": item.origin.get("training_images", "")}
        text = made_by(made, item.threshold, item.model)
        result = Result(name, stem, item.spatial, item.residual, labels, regions, planes, text)
        wanted = writer if planes is not None or not bare else without
        if wanted is not None:
            written += sum(map(len, wanted.write(result).values()))
            maker = found_by(item.model, created, item.threshold)
            rows += [{**row, **maker} for row in table_rows(result)]
        del found
    written += len(writer.finish(rows))
    text = f"Wrote {written} file{'s' * (written != 1)} to '{folder}'."
    if bare:
        of = ", ".join(f"'{name}'" for name in bare[:3]) + " and others" * (len(bare) > 3)
        text += f" No overlay of {of}: the image is no longer open."
    yield Done(text)


def _regions(item: Exportable) -> Generator[Fraction | Labelled | LargeLabels, None, None]:
    """Measure the committed regions, or segment now."""
    from ...core.model.corrections import verdicts_of
    from ...core.segmentation.regions import measure_regions

    if item.large is not None:
        found = item.large_labels
        if found is None:
            found = yield from outline_regions(item.large, item.threshold, item.segmentation)
        yield found
        return
    if item.labels is None:
        area = item.origin.get("area")
        config = item.segmentation
        for message in label_residual(item.residual, item.threshold, config, area, item.marks):
            yield _without_good(message) if isinstance(message, Labelled) else message
        return
    regions: list[tuple[int, Region]] = []
    planes = list(np.ndindex(item.residual.shape[:-2]))
    for plane, index in enumerate(planes):
        verdicts = verdicts_of(item.labels[index], plane, item.marks)
        regions += [
            (
                plane,
                replace(
                    region,
                    review=region.label in item.review,
                    good=verdicts.get(region.label) == "good",
                ),
            )
            for region in measure_regions(item.labels[index], item.residual[index])
        ]
        yield Fraction((plane + 1) / len(planes))
    yield _without_good(Labelled(item.labels, tuple(regions)))


def _without_good(found: Labelled) -> Labelled:
    """Leave out of the labels what is good; the table lists it."""
    labels = found.labels
    good = [(plane, region.label) for plane, region in found.regions if region.good]
    if good:
        labels = np.array(labels)
        for plane, label in good:
            here = labels[np.unravel_index(plane, labels.shape[:-2])] if labels.ndim > 2 else labels
            here[here == label] = 0
    return Labelled(labels, found.regions)


def _planes(item: Exportable) -> Planes | None:
    """See the image as the planes that the heatmap has; None if it is gone or has changed."""
    return None if item.source is None else planes_like(item.source, item.residual.shape)


def _names(items: Sequence[Exportable]) -> list[str]:
    """Return what the table calls each image: the same as if its file was inspected."""
    from ...io.files.naming import table_names

    names = iter(table_names([item.path for item in items if item.path is not None]))
    return [item.name if item.path is None else next(names) for item in items]


def _stems(items: Sequence[Exportable]) -> list[str]:
    """Return what the names of files begin with: every system takes it, and no two are the same."""
    from ...io.files.naming import image_stem, unique_stems

    return unique_stems([
        re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", item.name).strip(" .") or "image"
        if item.path is None
        else image_stem(item.path)
        for item in items
    ])  # fmt: skip
