"""How fast the training engine is, and how far that is from what the machine can do.

python benchmarks/training.py [--batch 128] [--rounds 7] [--threads N] [--cold FOLDER] [--json]

Needs, beside the package, what it is compared with:

    pip install --no-deps pytorch-msssim kornia kornia-rs torchmetrics lightning-utilities

All figures of one run belong together: candidates take turns, each figure is a median. `--cold`
also reports how long training from a cold start takes, all in, until the pixel AUROC on a folder
(`train_good`, `test`, `mask`) is .90. `--quick` measures tiny sizes, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from experiments import fibres, seconds, trainer
from torch import nn

from napari_ssim_defects import TrainingConfig
from napari_ssim_defects.core.common.device import to_device
from napari_ssim_defects.core.config import SSIMConfig
from napari_ssim_defects.core.detection.reconstruction import reconstruct_plane
from napari_ssim_defects.core.images.tiles import patch_starts
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.core.networks.precision import autocast, fast_dtype
from napari_ssim_defects.core.ssim import ssim_loss, ssim_map

CPU = torch.device("cpu")
WINDOWS = ("gaussian", "uniform")
SIZE, SIGMA = 11, 1.5


def flops_of(network: Autoencoder, patch_size: int) -> int:
    """Floating-point operations of one patch's forward pass: two per multiplication."""
    count = 0

    def add(layer: Any, inputs: Any, output: Any) -> None:
        nonlocal count
        # A convolution multiplies all its weights for each pixel of its output, a transposed one
        # for each pixel of its input.
        maps = output if isinstance(layer, nn.Conv2d) else inputs[0]
        count += 2 * layer.weight.numel() * maps[0, 0].numel()

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    with torch.no_grad():
        network(torch.zeros(1, 1, patch_size, patch_size))
    for hook in hooks:
        hook.remove()
    return count


def machine(rounds: int, side: int) -> dict[str, float]:
    """Measured rates of matrix products and of copying: the physical limits."""
    a, b = torch.rand(2, side, side)
    fast = (a.bfloat16(), b.bfloat16()) if fast_dtype(CPU) == torch.bfloat16 else (a, b)
    source = torch.rand(side * side * 16)
    target = torch.empty_like(source)
    times = seconds(
        {
            "fast": lambda: fast[0] @ fast[1],
            "float32": lambda: a @ b,
            "copy": lambda: target.copy_(source),
        },
        rounds,
    )
    return {
        "gemm_gflops_training_format": 2e-9 * side**3 / times["fast"],
        "gemm_gflops_float32": 2e-9 * side**3 / times["float32"],
        "copy_gbytes_per_second": 2e-9 * source.nbytes / times["copy"],
    }


def training(rounds: int, batch: int, patch_size: int, limits: dict[str, float]) -> dict[str, Any]:
    """Steps of the paper's network: ours, a straightforward loop, and the network by itself."""
    from pytorch_msssim import ssim

    config = TrainingConfig.preset("paper", patch_size=patch_size, batch_size=batch)
    run = trainer(config, CPU)
    area = fibres()

    plain = Autoencoder.from_config(config, 1)
    initialise(plain, 0)
    adam = torch.optim.Adam(plain.parameters(), lr=2e-4, weight_decay=1e-5)
    random = np.random.default_rng(0)

    def straightforward() -> None:
        height, width = area.pixels.shape[1:]
        patches = []
        for _ in range(batch):
            y = random.integers(height - patch_size + 1)
            x = random.integers(width - patch_size + 1)
            patches.append(area.pixels[:, y : y + patch_size, x : x + patch_size])
        images = torch.from_numpy(np.stack(patches))
        adam.zero_grad()
        loss = 1 - ssim(images, plain(images), data_range=1.0, size_average=True)
        loss.backward()
        adam.step()

    alone = to_device(Autoencoder.from_config(config, 1), CPU)
    images = torch.rand(batch, 1, patch_size, patch_size)
    images = images.contiguous(memory_format=torch.channels_last)
    slope = torch.ones_like(images)

    def network_only() -> None:
        alone.zero_grad()
        with autocast(CPU):
            outputs = alone(images)
        outputs.backward(slope.to(outputs.dtype))

    times = seconds(
        {
            "ours": run.step,
            "straightforward": straightforward,
            "straightforward, keeping memory": straightforward,
            "network": network_only,
        },
        rounds,
        kept=("ours", "network", "straightforward, keeping memory"),
    )
    rates = {name: batch / value for name, value in times.items()}
    flops = 3 * flops_of(
        Autoencoder.from_config(config, 1), patch_size
    )  # backward: twice the forward
    limit = 1e9 * limits["gemm_gflops_training_format"] / flops
    return {
        "batch_size": batch,
        "patches_per_second": rates["ours"],
        "straightforward_patches_per_second": rates["straightforward"],
        "times_straightforward": rates["ours"] / rates["straightforward"],
        "times_straightforward_keeping_memory": (
            rates["ours"] / rates["straightforward, keeping memory"]
        ),
        "network_only_patches_per_second": rates["network"],
        "times_network_only": rates["network"] / rates["ours"],
        "limit_patches_per_second": limit,
        "part_of_limit": rates["ours"] / limit,
    }


def kernel(window: str, dtype: torch.dtype) -> torch.Tensor:
    """Weights of the window along one axis."""
    if window == "uniform":
        return torch.full((SIZE,), 1 / SIZE, dtype=dtype)
    weights = torch.exp(-0.5 * (torch.arange(SIZE, dtype=dtype) - SIZE // 2) ** 2 / SIGMA**2)
    return weights / weights.sum()


def reference_ssim(x: torch.Tensor, y: torch.Tensor, window: str) -> torch.Tensor:
    """Mean SSIM by plain convolutions, where the window lies inside the images."""
    weights = torch.outer(kernel(window, x.dtype), kernel(window, x.dtype))[None, None]

    def mean(maps: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(maps, weights)

    a, b = mean(x), mean(y)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * a * b + c1) / (a * a + b * b + c1)
    structure = 2 * (mean(x * y) - a * b) + c2
    return (luminance * structure / (mean(x * x) - a * a + mean(y * y) - b * b + c2)).mean()


def losses(window: str) -> dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """Every implementation that offers the window."""
    from kornia.losses import ssim_loss as kornia_loss
    from pytorch_msssim import ssim
    from torchmetrics.functional.image import structural_similarity_index_measure

    line = kernel(window, torch.float32)[None, None, None]
    gaussian = window == "gaussian"
    found = {
        "ours": lambda x, y: ssim_loss(x, y, SSIMConfig(window_size=SIZE, window=window)),
        "pytorch_msssim": lambda x, y: 1 - ssim(x, y, data_range=1.0, win=line),
        "torchmetrics": lambda x, y: (
            1
            - structural_similarity_index_measure(
                x, y, gaussian_kernel=gaussian, sigma=SIGMA, kernel_size=SIZE, data_range=1.0
            )
        ),
    }
    if gaussian:
        found["kornia"] = lambda x, y: 2 * kornia_loss(x, y, SIZE)
    return found


def times_fastest(times: dict[str, float]) -> float:
    """How many times as long the fastest of the others takes."""
    return min(value for name, value in times.items() if name != "ours") / times["ours"]


def ssim_losses(
    rounds: int, count: int, side: int, limits: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """SSIM loss forward and backward, and how exact its gradient is."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, side, side, generator=generator)
    noisy = x + 0.2 * torch.randn(x.shape, generator=generator)

    def both(loss: Callable[..., torch.Tensor]) -> None:
        y = noisy.clone().requires_grad_()
        loss(x, y).backward()

    results = {}
    for window in WINDOWS:
        candidates = {name: (lambda loss=loss: both(loss)) for name, loss in losses(window).items()}
        times = seconds(candidates, rounds, kept=("ours",))
        alike = seconds(candidates, rounds, kept=tuple(candidates))

        single = noisy[:4].clone().requires_grad_()
        ours = ssim_map(x[:4], single, window_size=SIZE, window=window, border="valid").mean()
        double = noisy[:4].double().requires_grad_()
        exact = reference_ssim(x[:4].double(), double, window)
        (found,) = torch.autograd.grad(ours, single)
        (wanted,) = torch.autograd.grad(exact, double)
        error = (found - wanted).norm() / wanted.norm()
        # At the least, both images are read and the gradient is written.
        limit = 3 * x.nbytes / (1e9 * limits["copy_gbytes_per_second"])
        # Four means forward and three backward, of two lines of the window's size each.
        flops = 7 * 2 * (2 * SIZE) * x.numel()
        results[window] = {
            "milliseconds": {name: 1e3 * value for name, value in times.items()},
            "times_fastest_other": times_fastest(times),
            "milliseconds_all_keep_memory": {name: 1e3 * value for name, value in alike.items()},
            "times_fastest_other_all_keep_memory": times_fastest(alike),
            "gradient_error": float(error),
            "limit_milliseconds_of_memory": 1e3 * limit,
            "limit_milliseconds_of_products": flops / (1e6 * limits["gemm_gflops_float32"]),
        }
    return results


def reconstruction(rounds: int, height: int, width: int, patch_size: int) -> dict[str, Any]:
    """A whole plane at the paper's stride, and the network's own forward pass."""
    config = TrainingConfig.preset("paper", patch_size=patch_size)
    network = to_device(Autoencoder.from_config(config, 1), CPU).eval()
    plane = np.random.default_rng(0).random((1, height, width), dtype=np.float32)
    rows, columns = (patch_starts(side, patch_size, config.stride) for side in (height, width))
    count, size = len(rows) * len(columns), 32
    patches = torch.rand(size, 1, patch_size, patch_size)
    patches = patches.contiguous(memory_format=torch.channels_last)

    def whole() -> None:
        for _ in reconstruct_plane(network, plane, patch_size, config.stride, CPU):
            pass

    def forward() -> None:
        with torch.inference_mode(), autocast(CPU):
            for _ in range(-(-count // size)):
                network(patches)

    times = seconds({"whole": whole, "forward": forward}, rounds)
    alone = times["forward"] * count / (-(-count // size) * size)
    return {
        "patches": count,
        "seconds": times["whole"],
        "network_seconds": alone,
        "part_of_network_throughput": alone / times["whole"],
    }


def cold_start(folder: Path, wanted: float = 0.9) -> dict[str, Any]:
    """Shortest tried training whose model reaches the wanted pixel AUROC, and what it took."""
    program = [sys.executable, "-c", "from napari_ssim_defects.cli import main; main()"]
    tried = []
    for minutes in (0.25, 0.5, 1.0, 1.5):
        with tempfile.TemporaryDirectory() as temporary:
            model = str(Path(temporary) / "model.safetensors")
            start = time.perf_counter()
            good = str(folder / "train_good")
            subprocess.run(
                [*program, "train", good, "-o", model, "--minutes", str(minutes)],
                check=True, capture_output=True,
            )  # fmt: skip
            took = time.perf_counter() - start
            scores = subprocess.run(
                [*program, "evaluate", model, str(folder / "test"), str(folder / "mask"), "--json"],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
        tried.append(
            {"minutes": minutes, "seconds": took, "pixel_auroc": json.loads(scores)["pixel_auroc"]}
        )
        if tried[-1]["pixel_auroc"] >= wanted:
            return {"seconds": took, "tried": tried}
    return {"seconds": None, "tried": tried}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int, default=128, help="patches a step; the paper's: 128")
    parser.add_argument("--cold", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    quick, rounds = options.quick, options.rounds
    side = 32 if quick else 128
    limits = machine(rounds, 256 if quick else 2048)
    result = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "format": str(fast_dtype(CPU)).removeprefix("torch."),
        "compared_with": {
            name: version(name) for name in ("pytorch-msssim", "kornia", "torchmetrics")
        },
        "limits": limits,
        "training": training(rounds, 4 if quick else options.batch, side, limits),
        "ssim_loss": ssim_losses(rounds, 4 if quick else 64, side, limits),
        "reconstruction": reconstruction(rounds, *((80, 64) if quick else (700, 1024)), side),
    }
    if options.cold:
        result["cold_start"] = cold_start(options.cold)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        print(f"{name}: {json.dumps(value, indent=2)}")


if __name__ == "__main__":
    main()
