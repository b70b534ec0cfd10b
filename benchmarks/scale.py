"""What images larger than memory, many images and several workers cost.

python benchmarks/scale.py [--sizes 2000 8000 20000] [--images 1000] [--plot FILE] [--json]

Detection with all that belongs to it, as the command does it: reading, residual, regions, files.
Each figure comes from a process of its own, whose peak of resident memory is the system's own
figure. Cost is processor time, which other programs on the machine change least; seconds by the
clock are given, too. `--quick` measures tiny sizes, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage

from napari_ssim_defects import DefectModel, SegmentationConfig, TrainingConfig, train
from napari_ssim_defects.core.common.progress import PlaneDetected
from napari_ssim_defects.core.segmentation.regions import measure_plane
from napari_ssim_defects.core.segmentation.segment import segment_planes
from napari_ssim_defects.io.artifacts.recipe import DetectionSettings
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.scale.folders import FileDone, detect_files

TILE = 512
TEXTURE = 1024
SEGMENTATION = SegmentationConfig()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 8000, 20000], metavar="N",
                        help="sides of the large images, the smallest first")  # fmt: skip
    parser.add_argument("--images", type=int, default=1000, metavar="N",
                        help="images of 512 x 512 in the folder")  # fmt: skip
    parser.add_argument("--shared", type=int, default=24, metavar="N",
                        help="images that two workers share")  # fmt: skip
    parser.add_argument("--stride", type=int, metavar="S", help="as of detect")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of cost against pixels")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--measure", metavar="JSON", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(**json.loads(options.measure))))
        return 0
    if options.quick:
        options.sizes, options.images, options.shared = [300, 600], 6, 4
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model_path = root / "model.safetensors"
        trained(options.quick).save(model_path)
        result = {name: PARTS[name](options, root, model_path) for name in options.parts}
    if options.plot is not None and "large" in result:
        draw(options.plot, result["large"]["sizes"])
    print(json.dumps(result, indent=None if options.json else 2))
    return 0


def trained(quick: bool) -> DefectModel:
    """A model of preset ``quick``, whose networks cost what they cost however they are trained."""
    tiny: dict[str, Any] = {"patches": 16, "epochs": 1, "minutes": None}
    if quick:
        tiny |= {"patch_size": 16, "latent_dimension": 8}
    *_, last = train([texture(spoilt=False)[:512, :512]], TrainingConfig.preset("quick", **tiny))
    return last.model


def texture(spoilt: bool = True) -> npt.NDArray[np.uint8]:
    """Smooth noise that may be repeated without a seam, with a few spots."""
    noise = np.random.default_rng(0).normal(size=(TEXTURE, TEXTURE))
    smooth = ndimage.gaussian_filter(noise, 2, mode="wrap")
    pixels = np.clip(128 + 40 * smooth / smooth.std(), 0, 255)
    if spoilt:
        for row, column in ((100, 200), (500, 900), (700, 400)):
            pixels[row : row + 20, column : column + 30] = 255
    return pixels.astype(np.uint8)


def write_large(path: Path, side: int) -> None:
    """Write a uint8 image of tiles, tile by tile."""
    pixels = texture()

    def tiles() -> Iterator[npt.NDArray[np.uint8]]:
        for top in range(0, side, TILE):
            for left in range(0, side, TILE):
                rows = np.arange(top, min(top + TILE, side)) % TEXTURE
                columns = np.arange(left, min(left + TILE, side)) % TEXTURE
                yield pixels[np.ix_(rows, columns)]

    tifffile.imwrite(path, tiles(), shape=(side, side), dtype=np.uint8, tile=(TILE, TILE),
                     compression="zlib", photometric="minisblack")  # fmt: skip


def write_folder(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    pixels, paths = texture(), [folder / f"{number}.tif" for number in range(count)]
    for number, path in enumerate(paths):
        shift = np.random.default_rng(number).integers(0, TEXTURE, 2)
        tifffile.imwrite(path, np.roll(pixels, shift, (0, 1))[:TILE, :TILE])
    return paths


def large(options: argparse.Namespace, root: Path, model: Path) -> dict[str, Any]:
    sizes = []
    for side in options.sizes:
        path = root / f"{side}.tif"
        write_large(path, side)
        found = in_a_process(model=model, images=[path], out=root / "large", stride=options.stride)
        path.unlink()
        sizes.append({"side": side, "megapixels": side**2 / 1e6, **found})
        print(f"{side}: {found}", file=sys.stderr)
    first, last = sizes[0], sizes[-1]
    ratio = (last["cpu_seconds"] / last["megapixels"]) / (
        first["cpu_seconds"] / first["megapixels"]
    )
    return {"sizes": sizes, "cost_per_pixel_ratio": ratio}


def folder(options: argparse.Namespace, root: Path, model: Path) -> dict[str, Any]:
    paths = write_folder(root / "images", options.images)
    few = in_a_process(model=model, images=paths[: max(1, len(paths) // 10)], out=root / "few",
                       stride=options.stride)  # fmt: skip
    found = in_a_process(model=model, images=paths, out=root / "many", stride=options.stride)
    sample = paths[: max(1, len(paths) // 5)]
    bare = in_a_process(model=model, images=sample, out=None, stride=options.stride)
    per_image = found["cpu_seconds"] / len(paths), bare["cpu_seconds"] / len(sample)
    return {
        "images": len(paths),
        "peak_mb_of_a_tenth": few["peak_mb"],
        **found,
        "bare_cpu_seconds_per_image": per_image[1],
        "overhead": per_image[0] / per_image[1] - 1,
    }


def workers(options: argparse.Namespace, root: Path, model: Path) -> dict[str, Any]:
    from distributed import Client, LocalCluster

    paths = write_folder(root / "shared", options.shared)
    loaded = DefectModel.load(model)
    common: dict[str, Any] = {"stride": options.stride, "device": "cpu"}
    threshold = loaded.auto_threshold
    list(
        detect_files(
            loaded,
            paths,
            root / "one",
            DetectionSettings(threshold=threshold, segmentation=SEGMENTATION, **common),
        )
    )
    result: dict[str, Any] = {"images": len(paths)}
    for name in ("two", "killed"):
        start = time.perf_counter()
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            with Client(cluster) as client:
                processes = list(client.run(os.getpid).values())
            done = 0
            for message in detect_files(
                loaded,
                paths,
                root / name,
                DetectionSettings(
                    threshold=threshold,
                    segmentation=SEGMENTATION,
                    cluster=cluster.scheduler_address,
                    **common,
                ),
            ):
                done += isinstance(message, FileDone)
                if name == "killed" and done == len(paths) // 4 and processes:
                    os.kill(processes.pop(), signal.SIGKILL)
                    processes.clear()
        result[name] = {
            "done": done,
            "seconds": time.perf_counter() - start,
            "same_as_one": same(paths, root / "one", root / name),
        }
    return result


PARTS = {"large": large, "folder": folder, "workers": workers}


def same(paths: list[Path], first: Path, second: Path) -> bool:
    """Whether all residuals, labels and tables are the same, bit by bit."""
    names = [f"{path.stem}.{kind}.ome.tif" for path in paths for kind in ("residual", "labels")]
    return (
        all(
            np.array_equal(read_image(first / name).data, read_image(second / name).data)
            for name in names
        )
        and (first / "regions.csv").read_bytes() == (second / "regions.csv").read_bytes()
    )


def in_a_process(**what: Any) -> dict[str, float]:
    """Detect in a process of its own; without ``out`` by the bare engine, on arrays in memory."""
    command = [sys.executable, __file__, "--measure", json.dumps(what, default=str)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(answer)
    return found


def measured(
    model: str, images: list[str], out: str | None, stride: int | None
) -> dict[str, float]:
    loaded = DefectModel.load(model)
    threshold = loaded.auto_threshold
    paths = [Path(image) for image in images]
    pixels = [read_image(path).data for path in paths] if out is None else []
    loaded.residual(texture()[:256, :256], device="cpu", stride=stride)  # what is done once
    started, clock = time.process_time(), time.perf_counter()
    regions = 0
    if out is not None:
        for message in detect_files(
            loaded,
            paths,
            out,
            DetectionSettings(
                threshold=threshold, segmentation=SEGMENTATION, stride=stride, device="cpu"
            ),
        ):
            if isinstance(message, FileDone):
                regions += message.regions
    for image in pixels:
        for inspected in loaded.detect(image, stride=stride, device="cpu"):
            if isinstance(inspected, PlaneDetected):
                residual = inspected.residual
        labels = np.zeros(residual.shape, np.int32)
        for _, found in segment_planes(residual, threshold, SEGMENTATION):
            regions += len(measure_plane(labels, found, residual))
    return {
        "cpu_seconds": time.process_time() - started,
        "seconds": time.perf_counter() - clock,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "regions": regions,
    }


def draw(path: Path, sizes: list[dict[str, float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), dpi=120, layout="constrained")
    cost, memory = figure.subplots(1, 2)
    pixels = [size["megapixels"] for size in sizes]
    cost.loglog(pixels, [size["cpu_seconds"] for size in sizes], "o-", label="processor")
    cost.loglog(pixels, [size["seconds"] for size in sizes], "s--", label="clock")
    cost.set(xlabel="Megapixels", ylabel="Seconds")
    cost.legend()
    memory.semilogx(pixels, [size["peak_mb"] for size in sizes], "o-")
    memory.set(xlabel="Megapixels", ylabel="Peak of resident memory in MB", ylim=(0, None))
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
