"""What corrections of a few images do for the others.

python benchmarks/corrections.py DATASET... --models DIR [--marked 5] [--each 3] [--folds 20]
    [--weights] [--cache DIR] [--json]

DATASET is as for quality.py, and DIR its folder of results: all models of a data set there are
used. A person is simulated who looks at `--marked` test images at the automatic threshold, and
marks the `--each` worst false regions as good and the largest missed defects as defects. What is
outlined in the other images is counted before and after, and averaged over random choices of
images.

Rules: "kept" is what the package does. "apart" is the threshold that separates the marks best,
nearest to the automatic one. "expected" adds the false regions that the calibration expects. With
--weights members of the ensemble lose weight by how much less than to the best of them the marked
defects stand out from the good regions, and the FROC of the other images is printed before and
after (slow: images are scored anew).

The maps of each member are computed once and kept in `--cache`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from experiments import find_datasets, printed

from napari_ssim_defects import DefectModel, InputError
from napari_ssim_defects.core.common.device import choose_device
from napari_ssim_defects.core.common.progress import drained
from napari_ssim_defects.core.config import EnsembleResidual, SegmentationConfig
from napari_ssim_defects.core.detection.anomaly_score import anomaly_score, ensemble_score, offsets
from napari_ssim_defects.core.detection.predictions import predict_plane
from napari_ssim_defects.core.detection.residual import score_plane
from napari_ssim_defects.core.evaluation.froc import FrocCounter, froc_thresholds
from napari_ssim_defects.core.model.corrections import Mark, corrected, marks_of
from napari_ssim_defects.core.segmentation.regions import label_regions
from napari_ssim_defects.core.segmentation.segment import ThresholdIndex, prepare, segment_prepared
from napari_ssim_defects.io.images.datasets import Dataset
from napari_ssim_defects.io.images.image_file import read_image

RULES = ("none", "kept", "apart", "expected")
DEFAULT = SegmentationConfig()
FALSE_REGIONS = (0.5, 1.0, 2.0)
HALF_WEIGHT = 0.5  # of a difference of one power of e between the marks of two members


@dataclass(frozen=True)
class Tested:
    """A test image: maps of the members, defects by number, and what is outlined of it."""

    name: str
    maps: list[npt.NDArray[np.float32]]
    defects: npt.NDArray[np.int32]
    count: int
    residual: npt.NDArray[np.float32]
    index: ThresholdIndex

    def outlined(self, threshold: float) -> npt.NDArray[np.int32]:
        return segment_prepared(self.index, threshold, DEFAULT).labels()

    @property
    def large(self) -> set[int]:
        """Defects that count."""
        areas = np.bincount(self.defects.ravel(), minlength=self.count + 1)
        return {n for n in range(1, self.count + 1) if areas[n] >= DEFAULT.min_area}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--marked", type=int, default=5)
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("--folds", type=int, default=20)
    parser.add_argument("--weights", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path("corrections-maps"))
    parser.add_argument("--json", action="store_true")
    return printed(run, parser.parse_args(), table)


def run(options: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for name, dataset in find_datasets(options.datasets, options.cache).items():
        found = sorted((options.models / name).glob("*.safetensors"))
        files = [file for file in found if ".checkpoint." not in file.name]
        if not files:
            raise InputError(f"There is no model in '{options.models / name}'; run quality.py.")
        for file in files:
            model = DefectModel.load(file)
            images = list(tested(model, dataset, options.cache / name / file.stem))
            rows.append({"dataset": name, "model": file.stem, **simulated(model, images, options)})
    return {
        "marked": options.marked,
        "each": options.each,
        "runs": rows,
        "mean": {
            rule: {
                key: statistics.fmean(row["rules"][rule][key] for row in rows)
                for key in rows[0]["rules"][rule]
            }
            for rule in RULES
        },
    }


def tested(model: DefectModel, dataset: Dataset, cache: Path) -> Iterator[Tested]:
    """Score the test images; the maps of the members are kept."""
    cache.mkdir(parents=True, exist_ok=True)
    config = model.config.residual
    assert config.kind == "rarity"
    device = choose_device("cpu")
    for path, mask in zip(dataset.test, dataset.masks, strict=True):
        kept = cache / f"{path.stem}.npy"
        if not kept.exists():
            plane = model.intensity.normalise(model.planes(read_image(path).data)[0], path.name)
            network = model.network_on(device)
            steps = predict_plane(
                network, plane, model.config, model.config.stride, device, [config]
            )
            found = drained(steps)
            np.save(kept, [score_plane(plane, found, each.residual) for each in config.members])
        maps = list(np.load(kept))
        truth = np.zeros(maps[0].shape, bool)
        if mask is not None:
            read = np.asarray(read_image(mask).data) > 0
            truth = read.any(axis=-1) if read.ndim > 2 else read
        residual = ensemble_score(maps, config, offsets(maps, config))
        index = ThresholdIndex(prepare(residual, DEFAULT))
        yield Tested(path.stem, maps, *label_regions(truth), residual, index)


def simulated(
    model: DefectModel, images: Sequence[Tested], options: argparse.Namespace
) -> dict[str, Any]:
    auto = model.auto_threshold
    random = np.random.default_rng(0)
    found: dict[str, list[dict[str, float]]] = {rule: [] for rule in RULES}
    frocs: dict[str, list[list[float]]] = {"none": [], "weights": []}
    for _ in range(options.folds):
        order = random.permutation(len(images))
        looked_at = [images[number] for number in order[: options.marked]]
        others = [images[number] for number in order[options.marked :]]
        marks = marked(looked_at, auto, options.each)
        for rule, threshold in thresholds(model, [mark for mark, _ in marks]).items():
            found[rule].append(counted(others, threshold))
        if options.weights:
            for name, config in (
                ("none", model.config.residual),
                ("weights", reweighted(model.config.residual, marks, options.each)),
            ):
                frocs[name].append(froc(others, model, config))
    means = {
        rule: {key: statistics.fmean(each[key] for each in rows) for key in rows[0]}
        for rule, rows in found.items()
    }
    curves = {name: np.mean(rows, axis=0).tolist() for name, rows in frocs.items() if rows}
    return {"threshold": auto, "rules": means, "froc": curves}


def marked(
    images: Sequence[Tested], threshold: float, each: int
) -> list[tuple[Mark, tuple[Tested, npt.NDArray[np.bool_]]]]:
    """The worst false regions and the largest missed defects of some images, as marks."""
    good, missed = [], []
    for image in images:
        outlined = image.outlined(threshold)
        touching = set(np.unique(outlined[image.defects > 0]).tolist())
        for number in set(range(1, int(outlined.max()) + 1)) - touching:
            region = outlined == number
            good.append((float(image.residual[region].max()), image, region))
        hit = set(np.unique(image.defects[outlined > 0]).tolist())
        for number in image.large - hit:
            region = image.defects == number
            missed.append((float(region.sum()), image, region))
    result = []
    for verdict, candidates in (("good", good), ("defect", missed)):
        for _, image, region in sorted(candidates, key=lambda one: -one[0])[:each]:
            (mark,) = marks_of(image.residual, region.astype(int), verdict, image=image.name)
            result.append((mark, (image, region)))
    return result


def thresholds(model: DefectModel, marks: Sequence[Mark]) -> dict[str, float]:
    """The threshold of each rule."""
    auto = model.auto_threshold
    good = np.array([mark.level for mark in marks if mark.verdict == "good"])
    missed = np.array([mark.level for mark in marks if mark.verdict == "defect"])
    grid = np.unique(np.append(np.arange(1, 15, 0.05), auto))
    wrong = np.array([(good > t).sum() + (missed <= t).sum() for t in grid])
    expected = [max(0.0, model.calibration.regions_per_image(float(t)) - 1) for t in grid]
    fewest = grid[wrong == wrong.min()]
    return {
        "none": auto,
        "kept": corrected(model.threshold, model.calibration, marks).threshold,
        "apart": float(fewest[np.argmin(abs(fewest - auto))]),
        "expected": float(grid[np.argmin(wrong + np.array(expected) + 1e-6 * abs(grid - auto))]),
    }


def counted(images: Sequence[Tested], threshold: float) -> dict[str, float]:
    """Part of the defects found, false regions and mistakes per image, and F1 of regions."""
    defects = hits = false = 0
    for image in images:
        outlined = image.outlined(threshold)
        hits += len(set(np.unique(image.defects[outlined > 0]).tolist()) & image.large)
        touching = np.unique(outlined[image.defects > 0])
        false += int(outlined.max()) - np.count_nonzero(touching)
        defects += len(image.large)
    return {
        "threshold": threshold,
        "found": hits / defects,
        "false_regions_per_image": false / len(images),
        "mistakes_per_image": (defects - hits + false) / len(images),
        "f1": 2 * hits / max(1, defects + hits + false),
    }


def reweighted(
    config: EnsembleResidual,
    marks: Sequence[tuple[Mark, tuple[Tested, npt.NDArray[np.bool_]]]],
    each: int,
) -> EnsembleResidual:
    """Members lose weight by how much worse than to the best one defects look than good regions."""
    seen: dict[str, list[list[float]]] = {"good": [], "defect": []}
    for mark, (image, region) in marks:
        worst = np.argsort(np.where(region, image.residual, -1), axis=None)[-DEFAULT.min_area :]
        excess = offsets(image.maps, config)
        rare = [
            anomaly_score(found.ravel()[worst], member.levels).clip(max=10) - offset
            for found, member, offset in zip(image.maps, config.members, excess, strict=True)
        ]
        seen[mark.verdict].append([float(np.log(r.clip(min=0) + 0.3).mean()) for r in rare])
    fewer = min(map(len, seen.values()))
    if not fewer:
        return config
    better = np.mean(seen["defect"], axis=0) - np.mean(seen["good"], axis=0)
    factor = np.exp(HALF_WEIGHT * fewer / each * (better - better.max()))
    weights = factor * [member.weight for member in config.members]
    return config.replace(
        members=tuple(
            member.replace(weight=float(max(0.001, weight)))
            for member, weight in zip(config.members, weights / weights.max(), strict=True)
        )
    )


def froc(images: Sequence[Tested], model: DefectModel, config: EnsembleResidual) -> list[float]:
    counter = FrocCounter(froc_thresholds(model.calibration)[::3])
    for image in images:
        scored = ensemble_score(image.maps, config, offsets(image.maps, config))
        counter.add(scored, image.defects, image.count)
    curve = counter.result()
    return [curve.found_at(number) for number in FALSE_REGIONS]


def table(result: dict[str, Any]) -> str:
    lines = [
        "| images | rule | threshold | found | false per image | mistakes per image | F1 |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = [(row["dataset"], row["rules"]) for row in result["runs"]]
    for name, rules in [*groups, ("mean", result["mean"])]:
        for rule, of in rules.items():
            lines.append(
                f"| {name} | {rule} | {of['threshold']:.2f} | {of['found']:.3f} | "
                f"{of['false_regions_per_image']:.2f} | {of['mistakes_per_image']:.2f} | "
                f"{of['f1']:.3f} |"
            )
    for row in result["runs"]:
        for name, found in row["froc"].items():
            lines.append(f"FROC {row['dataset']} {name}: {', '.join(f'{x:.3f}' for x in found)}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
