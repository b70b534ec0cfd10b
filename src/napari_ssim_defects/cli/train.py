"""The command ``train``: writes a model file; resumes after a kill or a power loss."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.common.errors import InputError
from .terminal import Bar, CommandResult, deferred_interrupt, say_notices

if TYPE_CHECKING:
    from ..core.model.defect_model import DefectModel
    from ..core.training.checkpoint import Checkpoint
    from ..core.training.messages import (
        TrainingFinished,
        TrainingMessage,
        TrainingOutlook,
        TrainingStep,
    )
    from ..io.artifacts.recipe import TrainingRecipe

__all__ = ["run_train", "training_result"]


def run_train(
    recipe: TrainingRecipe, output: Path, *, resume: bool, hint: str = "--resume would"
) -> CommandResult:
    """Train and write the model.

    Parameters
    ----------
    recipe
        The training.
    output
        The model file.
    resume
        Whether to resume an interrupted training, if there is one.
    hint
        How to resume it, for a sentence.
    """
    from ..core.training.outlook import with_outlook
    from ..core.training.train import train
    from ..io.artifacts.checkpoint_file import checkpoint_path
    from ..io.files.atomic import ensure_folder, ensure_writable
    from ..io.images.good_images import good_images

    ensure_folder(output.absolute().parent)
    ensure_writable(output)  # before the work, not after it
    checkpoint = _Checkpoint(checkpoint_path(output))
    with Bar("training") as bar:
        state = checkpoint.found(bar, resume, hint)
    good = good_images(recipe.images, recipe.masks, roi=recipe.roi)
    say_notices(good.notices)
    steps = train(
        good.pixels,
        recipe.config,
        masks=good.masks,
        channel_axis=good.channel_axis,
        names=good.names,
        device=recipe.device,
        alexnet=recipe.alexnet,
        state=state,
    )
    messages = with_outlook(steps, recipe.config)
    with deferred_interrupt() as interrupted:
        finished, last = _follow(messages, interrupted, checkpoint)
        model = finished.model
        if recipe.auto_threshold is not None:
            model = replace(model, threshold=recipe.auto_threshold)
        model.save(output)
    if not finished.stopped and finished.share >= 1:
        checkpoint.path.unlink(missing_ok=True)
    result = training_result(output, model, last, stopped=finished.stopped, share=finished.share)
    loss = result["loss" if result["validation_loss"] is None else "validation_loss"]
    text = (
        f"Saved {output}: loss {loss:.4f} after {result['training_seconds']:.0f} s, "
        f"automatic threshold {model.auto_threshold:.3f}."
    )
    if model.verdict is not None:
        text += f"\n{model.verdict.text}"
    return CommandResult(result, text)


def training_result(
    output: Path,
    model: DefectModel,
    last: TrainingStep | None,
    *,
    stopped: bool,
    share: float = 1.0,
) -> dict[str, Any]:
    """Return the result for programs: about a model and its last step or its history."""
    from ..core.model.defect_model import HistoryEntry

    entry = model.history[-1] if model.history else None
    if last is not None:
        entry = HistoryEntry(last.step, last.elapsed, last.loss, last.validation_loss)
    return {
        "model": str(output),
        "stopped": stopped,
        "share_of_training": share,
        "loss": entry and entry.loss,
        "validation_loss": entry and entry.validation_loss,
        "training_seconds": entry and entry.seconds,
        "auto_threshold": model.auto_threshold,
        "warnings": list(model.warnings),
    }


@dataclass
class _Checkpoint:
    """The checkpoint beside the model, from which an interrupted training is resumed."""

    path: Path
    failed: bool = False

    def found(self, bar: Bar, resume: bool, hint: str) -> Checkpoint | None:
        """Return the checkpoint to resume from, and print a notice about it."""
        from ..io.artifacts.checkpoint_file import read_checkpoint

        if not self.path.exists():
            if resume:
                bar.say("There is no interrupted training; it starts from the beginning.")
            return None
        if not resume:
            bar.say(
                f"Starting a new training; the interrupted training in '{self.path}' will be "
                f"replaced ({hint} continue it)."
            )
            return None
        return read_checkpoint(self.path)

    def write(self, bar: Bar, state: Checkpoint) -> None:
        """Write a checkpoint; if that fails, print a notice once and continue."""
        from ..io.artifacts.checkpoint_file import write_checkpoint

        try:
            write_checkpoint(state, self.path)
        except InputError as error:
            if not self.failed:
                bar.say(
                    f"{error} The training continues, but it cannot be resumed after an "
                    "interruption."
                )
            self.failed = True


def _follow(
    messages: Generator[TrainingMessage | TrainingOutlook, str | None, None],
    interrupted: Any,
    checkpoint: _Checkpoint,
) -> tuple[TrainingFinished, TrainingStep | None]:
    """Show the progress of a training; returns its last message and its last step, if any."""
    from ..core.training.messages import (
        MEASURING,
        TrainingCheckpoint,
        TrainingFinished,
        TrainingNotice,
        TrainingOutlook,
        TrainingStarted,
        TrainingStep,
    )
    from ..core.training.train import STOP

    last: TrainingStep | None = None
    all_done = measuring = False
    with Bar("training") as bar:
        message = next(messages)
        while not isinstance(message, TrainingFinished):
            if isinstance(message, TrainingStarted):
                bar.say(
                    f"Training on {message.planes} planes, {message.device}, "
                    f"{message.precision}; Ctrl-C stops and keeps the best model."
                )
                if message.fraction:
                    all_done = message.fraction >= 1  # but for what is measured after it
                    bar.say(f"Continuing a training that was {message.fraction:.0%} done.")
            elif isinstance(message, TrainingOutlook):
                loss = "" if last is None else f", loss {last.loss:.4f}"
                bar.show(message.fraction, f"{message.phase}{loss}", message.remaining)
                measuring = message.phase == MEASURING
            elif isinstance(message, TrainingNotice):
                bar.say(message.text)
            elif isinstance(message, TrainingCheckpoint):
                checkpoint.write(bar, message.state)
            elif isinstance(message, TrainingStep):
                last = message
            if interrupted() and last is None and not all_done:
                raise KeyboardInterrupt  # there is nothing to keep
            if measuring and last is None and not all_done:
                raise InputError("The training ended before its first step; give it more minutes.")
            message = messages.send(STOP if interrupted() else None)
        bar.show(1.0, "")
    return message, last
