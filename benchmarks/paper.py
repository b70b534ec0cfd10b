"""The paper's figure 5 and table 1 on any data set, under one budget for all.

python benchmarks/paper.py DATASET [--preset paper] [--minutes M | --epochs N] [--patches P]
    [--systems ssim l2 vae fmae] [--sweep latent window patch] [--features NETWORK] [--alexnet FILE]
    [--out DIR] [--json]

DATASET is a folder laid out as NanoTWICE, MVTec AD or train_good/test/mask, or the word
"nanofibres" for generated images. Each training that is done is kept in DIR with its scores: the
same command goes on where it was stopped.

Every system is scored with its own residual, without smoothing, as in the paper.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from experiments import open_dataset, printed, scored

from napari_ssim_defects import InputError, TrainingConfig
from napari_ssim_defects.core.config import FeatureNetwork, SSIMResidual

SYSTEMS = ("ssim", "l2", "vae", "fmae")
SWEEPS: dict[str, list[dict[str, Any]]] = {
    "latent": [{"latent_dimension": d} for d in (50, 100, 200, 500, 1000)],
    "window": [{"ssim": {"window_size": k}} for k in (3, 7, 11, 15, 19)],
    "patch": [{"patch_size": p} for p in (32, 64, 128)],
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--preset", default="paper")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float)
    budget.add_argument("--epochs", type=int)
    parser.add_argument("--patches", type=int, help="patches per epoch")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--sweep", nargs="*", choices=list(SWEEPS), default=[])
    parser.add_argument("--features", choices=get_args(FeatureNetwork), help="network of fmae")
    parser.add_argument("--alexnet", type=Path, help="AlexNet's weights for fmae")
    parser.add_argument("--out", type=Path, default=Path("paper-results"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    return printed(run, options, table)


def run(options: argparse.Namespace) -> dict[str, Any]:
    dataset = open_dataset(options.dataset, options.out)
    folder = options.out / Path(options.dataset).name
    changes: dict[str, Any] = {"seed": options.seed}
    names = ("minutes", "epochs", "patches", "batch_size", "learning_rate")
    changes |= {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    if options.epochs is not None:
        changes["minutes"] = None
    fmae = {} if options.features is None else {"feature_network": options.features}
    wanted = [(system, fmae if system == "fmae" else {}) for system in options.systems]
    wanted += [("ssim", change) for name in options.sweep for change in SWEEPS[name]]
    runs = []
    for system, change in wanted:
        config = _config(options.preset, system, {**changes, **change})
        row = {"system": system, "change": change}
        try:
            runs.append({**row, **scored(dataset, config, folder, alexnet=options.alexnet)})
        except InputError as error:  # no weights, or images smaller than the patches
            runs.append({**row, "not_run": str(error)})
    return {"dataset": str(options.dataset), "layout": dataset.layout, "preset": options.preset,
            "changes": changes, "runs": runs}  # fmt: skip


def _config(preset: str, system: str, changes: dict[str, Any]) -> TrainingConfig:
    config = TrainingConfig.preset(preset, system=system, **changes)
    if system != "ssim":
        return config
    # The paper's alone, with the window that is trained with, unsmoothed.
    batch_size = TrainingConfig().batch_size if config.discriminator else config.batch_size
    return config.replace(
        discriminator=False,
        features=False,
        texture=False,
        augmentation=config.augmentation.replace(symmetries=False),
        residual=SSIMResidual(ssim=(config.ssim,)),
        batch_size=changes.get("batch_size", batch_size),
    )


def table(result: dict[str, Any]) -> str:
    lines = ["| system | pixel AUROC | AUPRC | AUPRO | overlap at FPR .05: quartiles | steps |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in result["runs"]:
        change = ", ".join(
            f"{n} {v['window_size'] if isinstance(v, dict) else v}"
            for n, v in row["change"].items()
        )
        name = f"{row['system']} ({change})" if change else row["system"]
        if "not_run" in row:
            lines.append(f"| {name} | not run: {row['not_run']} | | | | |")
            continue
        overlaps = ", ".join(f"{v:.2f}" for v in row["overlap_at_fpr_0.05"].values())
        lines.append(
            f"| {name} | {row['pixel_auroc']:.3f} | {row['pixel_auprc']:.3f} | "
            f"{row['aupro']:.3f} | {overlaps} | {row['steps']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
