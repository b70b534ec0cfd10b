"""What a graphics card brings: steps of a training, and detection, beside the processor.

python benchmarks/graphics_card.py [--device cuda] [--rounds 7] [--steps 64] [--minutes 0.25]
    [--json]

All figures of one run belong together: candidates take turns, each figure is a median. Steps are
also counted in operations, which a card waits to be asked for one by one; both are told with many
batches painted at once, as on a card, and with each by itself, as on a processor (`--device cpu`).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from experiments import seconds, trainer
from torch.utils._python_dispatch import TorchDispatchMode

from napari_ssim_defects import DefectModel, InputError, TrainingConfig, train
from napari_ssim_defects.core.common.device import choose_device
from napari_ssim_defects.core.networks.precision import fast_dtype
from napari_ssim_defects.core.training.loader import GPU_PREFETCH_BATCHES
from napari_ssim_defects.core.training.messages import TrainingFinished
from napari_ssim_defects.core.training.schedule import TrainingSchedule
from napari_ssim_defects.samples import nanofibres


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=64, help="of a training, in each turn")
    parser.add_argument("--minutes", type=float, default=0.25, help="of the model that detects")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        device = choose_device(options.device)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    result = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "precision": str(fast_dtype(device)).removeprefix("torch."),
        "processor_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "milliseconds_per_step": steps(device, options.rounds, options.steps),
        "operations_per_step": operations(device, options.steps),
        "detection": detection(device, options.rounds, options.minutes),
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return 0


def steps(device: torch.device, rounds: int, count: int) -> dict[str, float]:
    """Milliseconds of a step of each candidate."""
    kind = getattr(torch, device.type)

    def wait() -> None:
        if device.type == "mps":
            kind.synchronize()
        elif device.type != "cpu":
            kind.synchronize(device)

    def whole(some: Callable[[], None]) -> Callable[[], None]:
        def until_done() -> None:
            some()
            wait()

        return until_done

    candidates = {name: whole(some) for name, some in _stepping(device, count).items()}
    return {name: 1e3 * s / count for name, s in seconds(candidates, rounds).items()}


def operations(device: torch.device, count: int) -> dict[str, float]:
    """Operations that are asked of the device for a step of each candidate."""
    found = {}
    for name, some in _stepping(device, count).items():
        some()
        with _Operations() as counted:
            some()
        found[name] = counted.number / count
    return found


class _Operations(TorchDispatchMode):
    """Counts operations, those of the backward pass included; views of memory do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.number += not operation.is_view
        return operation(*args, **(kwargs or {}))


def _stepping(device: torch.device, count: int) -> dict[str, Callable[[], None]]:
    """Return what makes so many steps of presets."""

    def stepping(preset: str, at_once: int) -> Callable[[], None]:
        run = trainer(TrainingConfig.preset(preset), device, at_once)
        run._schedule = TrainingSchedule(reconstruction_skill=1.0)  # as after the first validations

        def some() -> None:
            for _ in range(count):
                run.step()

        return some

    return {
        "quick": stepping("quick", GPU_PREFETCH_BATCHES),
        "quick, each batch painted by itself": stepping("quick", 1),
        "paper": stepping("paper", 1),
    }


def detection(device: torch.device, rounds: int, minutes: float) -> dict[str, Any]:
    """Seconds of an image on the device and on the processor, and how far the maps differ."""
    model = _model(device, minutes)
    image = nanofibres(101, defects=True).image
    names = {str(device): str(device), "processor": "cpu"}
    times = seconds(
        {name: (lambda where=where: model.residual(image, device=where))
         for name, where in names.items()},
        rounds,
    )  # fmt: skip
    there, here = (model.residual(image, device=name) for name in (str(device), "cpu"))
    return {
        "residual": model.config.residual.kind,
        "megapixels": image.size / 1e6,
        "seconds": times[str(device)],
        "seconds_on_the_processor": times["processor"],
        "largest_difference": float(np.abs(there - here).max()),
        "mean_difference": float(np.abs(there - here).mean()),
    }


def _model(device: torch.device, minutes: float) -> DefectModel:
    config = TrainingConfig.preset("quick", minutes=minutes)
    start = time.perf_counter()
    *_, message = train([nanofibres(1).image], config, device=str(device))
    assert isinstance(message, TrainingFinished)
    print(f"trained a model in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return message.model


if __name__ == "__main__":
    sys.exit(main())
