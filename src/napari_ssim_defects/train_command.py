"""The command ``train``: from defect-free images to a model file, through kill and power loss."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.config import TrainingConfig
from .core.errors import InputError
from .terminal import Bar, deferred_interrupt

if TYPE_CHECKING:
    from .core.progress import TrainingFinished, TrainingMessage, TrainingStep
    from .core.training_state import TrainingState

__all__ = ["good_images", "run_train"]


def run_train(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Train as asked for; returns what to print for programs and for people."""
    from .core.training import train
    from .io.atomic import ensure_folder, ensure_writable
    from .io.checkpoint_file import checkpoint_path

    config = _config(options)
    ensure_folder(options.output.absolute().parent)
    ensure_writable(options.output)  # before the work, not after it
    checkpoint = _Checkpoint(checkpoint_path(options.output))
    with Bar("training") as bar:
        state = checkpoint.found(bar, options.resume)
    images, channel_axis, names = good_images(options)
    messages = train(
        images,
        config,
        channel_axis=channel_axis,
        names=names,
        device=options.device,
        alexnet=options.alexnet,
        state=state,
    )
    with deferred_interrupt() as interrupted:
        finished, last = _follow(messages, interrupted, checkpoint)
        model = finished.model
        if options.auto_threshold is not None:
            model = replace(model, threshold=options.auto_threshold)
        model.save(options.output)
    if not finished.stopped:
        checkpoint.path.unlink(missing_ok=True)
    loss = last.loss if last.validation_loss is None else last.validation_loss
    result = {
        "model": str(options.output),
        "stopped": finished.stopped,
        "loss": last.loss,
        "validation_loss": last.validation_loss,
        "training_seconds": last.elapsed,
        "auto_threshold": model.auto_threshold,
        "warnings": list(model.warnings),
    }
    text = (
        f"Saved {options.output}: loss {loss:.4f} after {last.elapsed:.0f} s, "
        f"automatic threshold {model.auto_threshold:.3f}."
    )
    if finished.stopped:
        text += " The same command with --resume goes on with the training."
    return result, text


def good_images(options: argparse.Namespace) -> tuple[list[Any], int | None, list[str]]:
    """Open the defect-free images; returns their pixels, common channel axis and names."""
    from .io.images import find_images, open_image

    images = [open_image(path) for path in find_images(options.good)]
    axes = {image.channel_axis for image in images}
    names = [f"'{image.path}'" for image in images]
    return [image.data for image in images], axes.pop() if len(axes) == 1 else None, names


@dataclass
class _Checkpoint:
    """The file beside the model that an interrupted training goes on from."""

    path: Path
    failed: bool = False

    def found(self, bar: Bar, resume: bool) -> TrainingState | None:
        """Return what to go on from, and say what becomes of what is there or is not."""
        from .io.checkpoint_file import read_checkpoint

        if not self.path.exists():
            if resume:
                bar.say("There is no interrupted training; it starts from the beginning.")
            return None
        if not resume:
            bar.say(
                f"Training anew; the interrupted training in '{self.path}' will be replaced "
                "(--resume would go on with it)."
            )
            return None
        return read_checkpoint(self.path)

    def write(self, bar: Bar, state: TrainingState) -> None:
        """Keep the state; what cannot be written is said once, and the training goes on."""
        from .io.checkpoint_file import write_checkpoint

        try:
            write_checkpoint(state, self.path)
        except InputError as error:
            if not self.failed:
                bar.say(f"{error} The training goes on, but could not be resumed.")
            self.failed = True


def _config(options: argparse.Namespace) -> TrainingConfig:
    changes: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("system", "minutes", "epochs", "seed")
        if getattr(options, name) is not None
    }
    if options.epochs is not None:
        changes["minutes"] = None
    return TrainingConfig.preset(options.preset, **changes)


def _follow(
    messages: Generator[TrainingMessage, str | None, None],
    interrupted: Any,
    checkpoint: _Checkpoint,
) -> tuple[TrainingFinished, TrainingStep]:
    """Show how a training goes, to its end; returns the end and the last step."""
    from .core.progress import (
        CalibrationProgress,
        PreparationProgress,
        TrainingCheckpoint,
        TrainingFinished,
        TrainingNotice,
        TrainingStarted,
        TrainingStep,
    )
    from .core.training import STOP

    last: TrainingStep | None = None
    with Bar("training") as bar:
        message = next(messages)
        while not isinstance(message, CalibrationProgress | TrainingFinished):
            if isinstance(message, TrainingStarted):
                bar.say(
                    f"Training on {message.planes} planes, {message.device}, "
                    f"{message.precision}; Ctrl-C stops and keeps the best model."
                )
                if message.fraction:
                    bar.say(f"Going on with a training that was {message.fraction:.0%} done.")
                    bar.begin_at(message.fraction)
            elif isinstance(message, PreparationProgress):
                bar.show(message.fraction, message.text)
            elif isinstance(message, TrainingNotice):
                bar.say(message.text)
            elif isinstance(message, TrainingCheckpoint):
                checkpoint.write(bar, message.state)
            elif isinstance(message, TrainingStep):
                bar.show(message.fraction, f"loss {message.loss:.4f}")
                last = message
            if interrupted() and last is None:
                raise KeyboardInterrupt  # there is nothing to keep
            message = messages.send(STOP if interrupted() else None)
    if last is None:
        raise InputError("The training ended before its first step; give it more minutes.")
    with Bar("measuring good images") as bar:
        while not isinstance(message, TrainingFinished):
            assert isinstance(message, CalibrationProgress)
            bar.show(message.fraction, "")
            message = next(messages)
    return message, last
