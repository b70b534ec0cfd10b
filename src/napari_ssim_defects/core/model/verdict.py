"""Whether a model can be relied on, in one sentence, from what was kept out of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .calibration import Calibration

__all__ = ["Grade", "Verdict", "trained_on", "verdict_of"]

Grade = Literal["reliable", "usable", "weak"]

_RELIABLE, _USABLE = 0.92, 0.8  # skills; a discriminator counts in full, or begins to count
_FEW, _SOME = 2.0, 10.0  # false regions per good image


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial on painted defects and the measurement of good images say of a model.

    Attributes
    ----------
    skill
        How often a pixel of a painted defect is found worse than a good one, in [0, 1] (the area
        below the ROC curve); 0.5 is chance.
    false_regions
        Regions that are outlined in a usual good image at the automatic threshold, at most.
    held_out
        Whether good images were measured that were not trained on.

    Examples
    --------
    >>> Verdict(skill=0.97, false_regions=1.0, held_out=True).grade
    'reliable'
    >>> Verdict(skill=0.6, false_regions=1.0, held_out=True).text
    'Weak, train on: painted defects look worse to it than good material 60 times in 100.'
    """

    skill: float
    false_regions: float
    held_out: bool

    @property
    def grade(self) -> Grade:
        """The verdict in a word; ``"weak"``: train on."""
        if self.skill < _USABLE or self.false_regions > _SOME:
            return "weak"
        if self.skill >= _RELIABLE and self.false_regions <= _FEW and self.held_out:
            return "reliable"
        return "usable"

    @property
    def text(self) -> str:
        """The verdict as a sentence."""
        seen = (
            "painted defects look worse to it than good material "
            f"{min(99, round(100 * self.skill))} times in 100"
        )
        if self.skill < _USABLE:
            return f"Weak, train on: {seen}."
        spots = (
            "at most one spot is"
            if self.false_regions < 1.5
            else f"about {self.false_regions:.0f} spots are"
        )
        text = f"{seen}, and {spots} outlined by mistake in a good image"
        word = {"reliable": "Reliable", "usable": "Usable", "weak": "Weak, train on"}[self.grade]
        where = "" if self.held_out else ", measured on the training images themselves"
        return f"{word}: {text}{where}."


def verdict_of(skill: float | None, calibration: Calibration, threshold: float) -> Verdict | None:
    """Judge a model by its trial, and by its calibration at its threshold; None if not tried."""
    if skill is None:
        return None
    return Verdict(skill, calibration.regions_per_image(threshold), calibration.held_out)


def trained_on(provenance: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence about the training of a model, if anything is known of it.

    Examples
    --------
    >>> trained_on({"training images": "'a.png'", "created": "2024-05-06T07:08", "device": "cpu",
    ...             "training seconds": "200.0"})
    ("Trained on 'a.png' on 2024-05-06, in 3.3 minutes.",)
    """
    images = provenance.get("training images")
    if not images:
        return ()
    day = provenance.get("created", "")[:10]
    when = f" on {day}" if day else ""
    try:
        minutes = f", in {float(provenance['training seconds']) / 60:.1f} minutes"
    except (KeyError, ValueError):
        minutes = ""
    return (f"Trained on {images}{when}{minutes}.",)
