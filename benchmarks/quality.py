"""Presets side by side on many data sets, in equal time, over several seeds.

python benchmarks/quality.py DATASET... [--presets quick best paper] [--minutes M]
    [--seeds 0 1 2] [--residuals own ssim ...] [--patchcore] [--out DIR] [--json]

DATASET is a folder laid out as NanoTWICE, MVTec AD or train_good/test/mask, a folder of such
folders, or the word "nanofibres" for generated images. Each training that is done is kept in DIR
with its scores: the same command goes on where it was stopped.

--minutes gives every preset the same time; "paper" keeps its constant rate and trains for as long
as that. --residuals scores one trained model by several of its residuals: "own" is its recipe's;
those that a preset does not have are passed over. --patchcore adds the baseline of patchcore.py.

Seconds are those until a model is ready, all of them; steps are those of the optimiser.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from experiments import find_datasets, printed, scored
from patchcore import patchcore

from napari_ssim_defects import InputError, TrainingConfig
from napari_ssim_defects.core.config import ResidualKind
from napari_ssim_defects.core.config.presets import PRESETS
from napari_ssim_defects.io.images.datasets import Dataset

Row = dict[str, Any]

OWN = "own"
PATCHCORE = "patchcore"
MEASURED = ("pixel_auroc", "aupro", "pixel_auprc", "seconds", "seconds_per_image", "steps")
OVERLAPS = "overlap_at_fpr_0.05"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--presets", nargs="*", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--minutes", type=float, help="for each training; default: the preset's")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--residuals", nargs="+", choices=[OWN, *get_args(ResidualKind)], default=[OWN]
    )
    parser.add_argument("--patchcore", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("quality-results"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    return printed(run, options, lambda result: table(result["means"]))


def run(options: argparse.Namespace) -> dict[str, Any]:
    datasets = find_datasets(options.datasets, options.out)
    methods = _methods(options.presets, options.residuals)
    if options.patchcore:
        methods.append((PATCHCORE, ""))
    runs: list[Row] = []
    # Every data set with one seed before the next seed: a run that is stopped has seen them all.
    for seed in options.seeds:
        for name, dataset in datasets.items():
            folder = options.out / name
            for method, residual in methods:
                row = {"dataset": name, "method": method, "residual": residual, "seed": seed}
                try:
                    row |= _scores(dataset, method, residual, seed, options.minutes, folder)
                except InputError as error:  # no network, or images smaller than the patches
                    row["not_run"] = str(error)
                runs.append(row)
    return {
        "minutes": options.minutes,
        "seeds": options.seeds,
        "means": _means(runs),
        "runs": runs,
    }


def _methods(presets: Sequence[str], residuals: Sequence[str]) -> list[tuple[str, str]]:
    """Presets with each of the residuals that are wanted of them, every pair once."""
    methods = {}
    for preset in presets:
        config = TrainingConfig.preset(preset)
        kinds = [residual.kind for residual in config.residuals]  # its own first
        for residual in residuals:
            if residual == OWN:
                methods[preset, kinds[0]] = None
            elif residual in kinds:
                methods[preset, residual] = None
    return list(methods)


def _scores(
    dataset: Dataset, method: str, residual: str, seed: int, minutes: float | None, folder: Path
) -> dict[str, Any]:
    if method == PATCHCORE:
        return patchcore(dataset, folder, seed)
    budget = {} if minutes is None else {"minutes": minutes}
    config = TrainingConfig.preset(method, seed=seed, **budget)
    return scored(dataset, config, folder, residual=cast(ResidualKind, residual))


def _means(runs: Sequence[Row]) -> list[Row]:
    """Average over the seeds, then over the data sets where a method could be run on them all."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in runs:
        groups.setdefault((row["dataset"], row["method"], row["residual"]), []).append(row)
    means = [
        {"dataset": dataset, "method": method, "residual": residual, **_mean(rows)}
        for (dataset, method, residual), rows in groups.items()
    ]
    by_method: dict[tuple[str, str], list[Row]] = {}
    for row in means:
        by_method.setdefault((row["method"], row["residual"]), []).append(row)
    over_all = [
        {"dataset": "mean", "method": method, "residual": residual, **_mean(rows)}
        for (method, residual), rows in by_method.items()
        if len(rows) > 1 and not any("not_run" in row for row in rows)
    ]
    return means + over_all


def _mean(rows: Sequence[Row]) -> Row:
    """Average what is measured; a method that fails with one seed has no mean."""
    failed = [row["not_run"] for row in rows if "not_run" in row]
    if failed:
        return {"not_run": failed[0]}
    measured = [name for name in MEASURED if all(name in row for row in rows)]
    result: Row = {name: statistics.fmean(row[name] for row in rows) for name in measured}
    overlaps = [row[OVERLAPS] for row in rows]
    result[OVERLAPS] = {q: statistics.fmean(each[q] for each in overlaps) for q in overlaps[0]}
    return result


def table(means: Sequence[Row]) -> str:
    lines = [
        "| images | method | residual | AUROC | AUPRO | AUPRC "
        "| overlap at FPR .05: quartiles | seconds | steps |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in means:
        names = f"| {row['dataset']} | {row['method']} | {row['residual']} |"
        if "not_run" in row:
            lines.append(f"{names} not run: {row['not_run']} | | | | | |")
            continue
        scores = " | ".join(f"{row[n]:.3f}" for n in ("pixel_auroc", "aupro", "pixel_auprc"))
        overlaps = ", ".join(f"{value:.2f}" for value in row[OVERLAPS].values())
        steps = f"{row['steps']:.0f}" if "steps" in row else ""
        lines.append(f"{names} {scores} | {overlaps} | {row['seconds']:.0f} | {steps} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
