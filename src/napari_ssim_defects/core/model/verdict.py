"""Whether a model can be relied on, in one sentence, from what was kept out of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from .calibration import Calibration

__all__ = ["Grade", "PaintedDefect", "Verdict", "trained_on", "verdict_of"]

Grade = Literal["reliable", "usable", "weak"]

# Part of the larger painted defects that is found (benchmarks/EXPERIMENTS.md, nine materials).
_RELIABLE, _USABLE = 0.6, 0.3
_NAMED = 4  # training images that are named besides the first
_FEW, _SOME = 2.0, 10.0  # false regions per good image


class PaintedDefect(NamedTuple):
    """A defect that was painted into a good patch.

    Attributes
    ----------
    size
        Its number of pixels.
    level
        Residual from which on no outline touches it.
    """

    size: int
    level: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial on painted defects and the measurement of good images say of a model.

    Attributes
    ----------
    found_larger, found_smaller
        Parts of the larger and of the smaller half of the painted defects that are found at the
        automatic threshold, in [0, 1].
    smallest
        Pixels of the smallest of the larger half.
    false_regions
        Regions that are outlined in a usual good image at the automatic threshold, at most.
    held_out
        Whether good images were measured that were not trained on.

    Examples
    --------
    >>> Verdict(0.9, 0.4, smallest=170, false_regions=1.0, held_out=True).grade
    'reliable'
    >>> Verdict(0.2, 0.0, smallest=170, false_regions=1.0, held_out=True).text
    'Weak, train on: it finds 20 % of painted defects of 170 px or more and 0 % of smaller ones.'
    """

    found_larger: float
    found_smaller: float
    smallest: int
    false_regions: float
    held_out: bool

    @property
    def grade(self) -> Grade:
        """The verdict in a word; ``"weak"``: train on."""
        if self.found_larger < _USABLE or self.false_regions > _SOME:
            return "weak"
        if self.found_larger >= _RELIABLE and self.false_regions <= _FEW and self.held_out:
            return "reliable"
        return "usable"

    @property
    def text(self) -> str:
        """The verdict as a sentence."""
        found = (
            f"it finds {100 * self.found_larger:.0f} % of painted defects of {self.smallest} px or "
            f"more and {100 * self.found_smaller:.0f} % of smaller ones"
        )
        if self.found_larger < _USABLE:
            return f"Weak, train on: {found}."
        spots = (
            "at most one spot is"
            if self.false_regions < 1.5
            else f"about {self.false_regions:.0f} spots are"
        )
        text = f"{found}, and {spots} outlined by mistake in a good image"
        word = {"reliable": "Reliable", "usable": "Usable", "weak": "Weak, train on"}[self.grade]
        where = "" if self.held_out else ", measured on the training images themselves"
        return f"{word}: {text}{where}."


def verdict_of(
    painted: Sequence[PaintedDefect], calibration: Calibration, threshold: float
) -> Verdict | None:
    """Judge a model by its trial, and by its calibration at its threshold; None if not tried."""
    if not painted:
        return None
    ranked = sorted(painted, reverse=True)
    half = (len(ranked) + 1) // 2
    larger, smaller = (
        sum(defect.level > threshold for defect in part) / max(1, len(part))
        for part in (ranked[:half], ranked[half:])
    )
    return Verdict(
        larger,
        smaller,
        ranked[half - 1].size,
        calibration.regions_per_image(threshold),
        calibration.held_out,
    )


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
    first, *others = images.split(", ")
    if len(others) > _NAMED:
        images = f"{first} and {len(others)} other images"
    day = provenance.get("created", "")[:10]
    when = f" on {day}" if day else ""
    try:
        minutes = f", in {float(provenance['training seconds']) / 60:.1f} minutes"
    except (KeyError, ValueError):
        minutes = ""
    return (f"Trained on {images}{when}{minutes}.",)
