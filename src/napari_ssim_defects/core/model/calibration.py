"""Distribution of residuals on good images, and the thresholds that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..common.array_checks import finite_number, number_array, whole_number
from ..common.errors import InputError
from ..config import ResidualConfig, SegmentationConfig
from ..segmentation.regions import label_regions
from ..segmentation.segment import ThresholdIndex, prepare, segment_prepared

__all__ = ["CalibratedResidual", "Calibration", "CalibrationBuilder", "limits_beyond"]

# Dense in the upper tail, where thresholds lie: 1 - level falls from 1 to 1e-6.
_TAIL = np.concatenate([np.linspace(1, 0.1, 91), np.geomspace(0.1, 1e-6, 201)[1:], [0.0]])

_AREAS = np.array([1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000.0])
_DEFAULT = SegmentationConfig()

# Regions per good pixel, from one in a thousand to one in a billion.
_REGION_RATES = np.geomspace(1e-3, 1e-9, 121)
_REGION_LEVELS = 100  # residuals at which regions are counted
_FEWER_LEVELS = 40  # the same for each image by itself
_COUNTED = 5  # regions that are enough to estimate their rate
# Good images that show half of how images differ (benchmarks/EXPERIMENTS.md).
_ENOUGH_IMAGES = 20
_TAIL_REGIONS = 20  # regions that the tail beyond is estimated from


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Distribution of the residual on defect-free pixels.

    Attributes
    ----------
    tail
        False positive rates, falling from 1 to 0; float64 of shape (Q,).
    thresholds
        Residual that each rate of defect-free pixels exceeds; float64 of shape (Q,).
    pixels
        Number of pixels that it was measured on.
    held_out
        Whether these pixels were kept out of the training.
    areas
        Numbers of pixels, rising from 1; float64 of shape (A,).
    area_thresholds
        Lowest residual above which every connected defect-free region is smaller than each of
        the areas, after an opening of the default diameter; float64 of shape (A,).
    region_rates
        Regions per defect-free pixel, falling; float64 of shape (R,).
    region_thresholds
        Residual at which the default segmentation outlines no more than these; float64 of shape
        (R,).
    image_pixels
        Number of pixels of a usual image.
    """

    tail: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]
    pixels: int
    held_out: bool
    areas: npt.NDArray[np.float64]
    area_thresholds: npt.NDArray[np.float64]
    region_rates: npt.NDArray[np.float64]
    region_thresholds: npt.NDArray[np.float64]
    image_pixels: int

    @classmethod
    def from_residuals(
        cls, residuals: Iterable[npt.NDArray[np.float32]], held_out: bool
    ) -> Calibration:
        """Measure the distribution on residual maps of defect-free images.

        Parameters
        ----------
        residuals
            Maps of shape (..., H, W); pixels that are NaN do not count.
        held_out
            Whether the images were kept out of the training.

        Raises
        ------
        InputError
            If a map holds anything but real numbers, or there is no finite pixel.
        """
        builder = CalibrationBuilder()
        for residual in residuals:
            builder.add(residual)
        return builder.result(held_out)

    def threshold(self, false_positive_rate: float) -> float:
        """Return the threshold that this fraction of defect-free pixels exceeds.

        Parameters
        ----------
        false_positive_rate
            Fraction of defect-free pixels, in [0, 1] (paper section 4.1).
        """
        false_positive_rate = finite_number(false_positive_rate, "false positive rate")
        if not 0 <= false_positive_rate <= 1:
            raise InputError(
                f"A false positive rate lies between 0 and 1, not {false_positive_rate}."
            )
        return float(np.interp(1 - false_positive_rate, 1 - self.tail, self.thresholds))

    def threshold_of_area(self, area: int) -> float:
        """Return a threshold at which every defect-free region has fewer pixels than ``area``.

        It is the lowest such threshold that was measured, for the next smaller area if ``area`` was
        not. Regions are 8-connected, after an opening of the default diameter, before holes are
        filled.
        """
        area = whole_number(area, "smallest area")
        if area < 1:
            raise InputError(f"A smallest area is at least one pixel, not {area}.")
        area = min(area, int(self.areas[-1]))
        return float(self.area_thresholds[np.searchsorted(self.areas, area, side="right") - 1])

    def threshold_of_regions(self, per_image: float) -> float:
        """Return the threshold at which this many regions of a typical good image are outlined.

        This is an upper bound for the default segmentation; it is more cautious the fewer good
        pixels were measured. If they are too few, it is extrapolated (see `CalibrationBuilder`).

        Parameters
        ----------
        per_image
            False regions per image, above 0.
        """
        per_image = finite_number(per_image, "number of false regions")
        if per_image <= 0:
            raise InputError(f"A number of false regions is above 0, not {per_image}.")
        wanted = np.log(per_image / self.image_pixels)
        return float(np.interp(-wanted, -np.log(self.region_rates), self.region_thresholds))

    def regions_per_image(self, threshold: float) -> float:
        """Return how many regions of a usual good image are outlined at a threshold, at most."""
        threshold = finite_number(threshold, "threshold")
        last = _last_of_equals(self.region_thresholds)
        rates = np.log(self.region_rates[last])
        rate = np.exp(np.interp(threshold, self.region_thresholds[last], rates, right=-np.inf))
        return float(rate * self.image_pixels)

    def with_good_regions(self, levels: Sequence[float], images: int) -> Calibration:
        """Return the calibration after regions that a person knows to be good.

        These images count as much as each of those that were measured, with the caution for few of
        these. So a few regions move the thresholds of regions a little, many as far as they say.

        Parameters
        ----------
        levels
            Of each region, the residual from which on it is not outlined.
        images
            Number of images that they lie in.
        """
        if not levels:
            return self
        before = self.pixels / self.image_pixels + _ENOUGH_IMAGES
        highest = np.sort(np.asarray(levels, np.float64))[::-1]
        wanted = self.region_rates * self.image_pixels  # false regions per image
        found = np.full(len(wanted), np.inf)
        # With r(t) regions per image measured above a threshold t, this solves for each rate
        #     before * r(t) + number of levels above t = wanted * (before + images).
        # That number is constant between two levels. So the equation is solved for each number, and
        # a solution counts if it lies between these levels.
        for above in range(len(highest) + 1):
            left = (wanted * (before + images) - above) / before
            with np.errstate(divide="ignore"):
                rates = -np.log(left.clip(min=0) / self.image_pixels)
            reached = np.interp(rates, -np.log(self.region_rates), self.region_thresholds)
            reached[left <= 0] = np.inf
            here = np.maximum(reached, highest[above] if above < len(highest) else -np.inf)
            valid = here < (highest[above - 1] if above else np.inf)
            found = np.minimum(found, np.where(valid, here, np.inf))
        regions = np.maximum.accumulate(np.maximum(self.region_thresholds, found))
        return replace(self, region_thresholds=regions)

    def false_positive_rate(self, threshold: float) -> float:
        """Return the fraction of defect-free pixels above a threshold, in [0, 1]."""
        threshold = finite_number(threshold, "threshold")
        last = _last_of_equals(self.thresholds)
        rate = np.interp(threshold, self.thresholds[last], self.tail[last], left=1.0, right=0.0)
        return float(rate)

    @property
    def contrast_limits(self) -> tuple[float, float]:
        """Display range that shows good images dark; fixed, never per image."""
        low, high = self.threshold(0.5), self.threshold(1e-4)
        return low, max(low + 1.5 * (high - low), low + 1e-6 * max(1, abs(low)))


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedResidual:
    """A residual with its calibration."""

    residual: ResidualConfig
    calibration: Calibration


class CalibrationBuilder:
    """Collects residual maps of defect-free images, one after another.

    Parameters
    ----------
    image_pixels
        Number of pixels of a usual image; None: that of the median map.
    images
        Number of good images that are known; None: that of the maps.

    Notes
    -----
    The threshold that one region per image exceeds can be measured on several images. With fewer
    images it is extrapolated from the highest regions: their excess is modelled as exponential,
    and its mean gives the further fall of the rate (Pickands 1975).

    Whole images were held out, or bands of them, and they may be few. So thresholds of regions are
    at least those of the median image that was trained on (see `add_trained`). A few good images do
    not show how images differ in light either: then they are at least those of the same material in
    each other light (see `add_varied`).
    """

    def __init__(self, image_pixels: int | None = None, images: int | None = None) -> None:
        self._image_pixels = image_pixels
        self._images = images
        self._trained: list[npt.NDArray[np.float64]] = []
        self._prepared: list[npt.NDArray[np.float32]] = []
        self._varied: dict[int, tuple[list[npt.NDArray[np.float32]], int]] = {}
        self._values: list[npt.NDArray[np.float32]] = []
        self._area_thresholds = np.full(len(_AREAS), -np.inf)

    def add(self, residual: npt.NDArray[np.float32]) -> None:
        """Add a map of shape (..., H, W); pixels that are NaN do not count."""
        with np.errstate(over="ignore"):
            residual = number_array(residual, "residual").astype(np.float32, copy=False)
        good = np.isfinite(residual)
        self._values.append(residual[good])
        if not good.any():
            return
        planes = np.atleast_2d(_filled(residual, good))
        for plane in planes.reshape(-1, *planes.shape[-2:]):
            self._prepared.append(prepare(plane, _DEFAULT))
            found = _area_thresholds(self._prepared[-1], plane)
            self._area_thresholds = np.maximum(self._area_thresholds, found)

    def add_trained(self, residual: npt.NDArray[np.float32]) -> None:
        """Add the map (H, W) of a good plane that was trained on: for regions only."""
        good = np.isfinite(residual)
        if good.any():
            highest = float(residual[good].max())
            self._trained.append(
                _region_thresholds(
                    [prepare(_filled(residual, good), _DEFAULT)],
                    int(np.count_nonzero(good)),
                    highest,
                    _FEWER_LEVELS,
                )
            )

    def add_varied(self, residual: npt.NDArray[np.float32], light: int) -> None:
        """Add the map (H, W) of a good plane in other light, by its number: for regions only."""
        good = np.isfinite(residual)
        if good.any():
            plane = prepare(_filled(residual, good), _DEFAULT)
            planes, pixels = self._varied.get(light, ([], 0))
            self._varied[light] = [*planes, plane], pixels + int(np.count_nonzero(good))

    def result(self, held_out: bool) -> Calibration:
        """Return the calibration from all maps."""
        values = np.concatenate([np.empty(0, np.float32), *self._values])
        if not values.size:
            raise InputError(
                "There is no good pixel to measure the residual on; give images of good material."
            )
        thresholds = np.quantile(values, 1 - _TAIL).astype(np.float64)
        image_pixels = self._image_pixels or int(np.median([p.size for p in self._prepared]))
        # Other images have more regions than those that were measured, the more so the fewer good
        # images there are: n of them count as n / (n + 20) of their pixels.
        images = self._images or len(self._prepared)
        share = images / (images + _ENOUGH_IMAGES)
        highest = float(thresholds[-1])
        regions = _region_thresholds(self._prepared, values.size * share, highest)
        for planes, pixels in self._varied.values():
            regions = np.maximum(regions, _region_thresholds(planes, pixels, highest))
        if self._trained:
            regions = np.maximum(regions, np.quantile(self._trained, 0.5, axis=0, method="lower"))
        return Calibration(
            tail=_TAIL,
            thresholds=thresholds,
            pixels=values.size,
            held_out=held_out,
            areas=_AREAS,
            area_thresholds=self._area_thresholds,
            region_rates=_REGION_RATES,
            region_thresholds=regions,
            image_pixels=image_pixels,
        )


def limits_beyond(limits: tuple[float, float], threshold: float) -> tuple[float, float]:
    """Return a display range that reaches well beyond a threshold, and at least as far as now."""
    return limits[0], max(limits[1], 1.5 * threshold)


def _filled(
    residual: npt.NDArray[np.float32], good: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Return a residual with its lowest good value at pixels that do not count."""
    return np.where(good, residual, residual[good].min())


def _last_of_equals(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return the indices of distinct thresholds; of equal ones, that with the lowest rate.

    Thresholds are equal where a residual is flat, and a pixel must exceed a threshold.
    """
    _, from_end = np.unique(thresholds[::-1], return_index=True)
    return len(thresholds) - 1 - from_end


def _region_thresholds(
    prepared: list[npt.NDArray[np.float32]],
    pixels: float,
    highest: float,
    most_levels: int = _REGION_LEVELS,
) -> npt.NDArray[np.float64]:
    """Residuals at which there are so many regions as `_REGION_RATES` say of so many pixels."""
    inside = np.concatenate([plane[np.isfinite(plane)] for plane in prepared])
    if not inside.size:  # too narrow for the opening
        return np.full(len(_REGION_RATES), highest)
    # At levels that more than 30 % of the pixels exceed, regions grow together and are fewer again.
    tail = np.append(np.geomspace(0.3, 1 / inside.size, most_levels), 0)
    levels = np.unique(np.quantile(inside, 1 - tail).astype(np.float64))
    indices = [ThresholdIndex(plane) for plane in prepared]
    counts = np.array([
        sum(segment_prepared(index, level, _DEFAULT).count for index in indices)
        for level in levels
    ])  # fmt: skip
    # From the highest level on: below, regions grow together and are fewer again.
    counts = np.maximum.accumulate(counts[::-1])[::-1]
    wanted = _REGION_RATES * pixels
    # The lowest level at which no more are left than are wanted.
    place = np.minimum(np.searchsorted(-counts, -wanted), len(levels) - 1)
    thresholds = levels[place]
    few = wanted < _COUNTED
    if few.any() and counts[0]:
        start = int(np.searchsorted(-counts, -min(_TAIL_REGIONS, counts[0])))
        # What lies beyond the start, summed over the regions, is the area below their number.
        excess = float(np.sum(counts[start:-1] * np.diff(levels[start:])))
        scale = excess / max(counts[start], 1)
        beyond = levels[start] + scale * np.log(max(counts[start], 1) / wanted[few])
        thresholds[few] = np.maximum(beyond, levels[start])
    return np.asarray(np.maximum.accumulate(thresholds))


def _area_thresholds(
    opened: npt.NDArray[np.float32], residual: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Lowest of a few hundred levels above which all regions are smaller than each of the areas."""
    inside = opened[np.isfinite(opened)]
    if not inside.size:  # too narrow for the opening
        return np.full(len(_AREAS), residual.min(), dtype=np.float64)
    levels = np.quantile(inside, 1 - _TAIL).astype(np.float64)
    thresholds = np.full(len(_AREAS), levels[-1])

    def search(low: int, high: int, areas: slice) -> None:
        """Regions reach all these areas at the lower level, and none at the higher one."""
        if areas.start == areas.stop:
            return
        if high - low == 1:
            thresholds[areas] = levels[high]
            return
        middle = (low + high) // 2
        labels, _ = label_regions(opened > levels[middle])
        largest = np.bincount(labels.ravel())[1:].max(initial=0)
        # The areas that no region reaches any more have their threshold here or below.
        first = areas.start + int(np.searchsorted(_AREAS[areas], largest, side="right"))
        search(low, middle, slice(first, areas.stop))
        search(middle, high, slice(areas.start, first))

    search(-1, len(levels) - 1, slice(0, len(_AREAS)))
    return thresholds
