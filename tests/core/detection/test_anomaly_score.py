from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import (
    DiscriminatorResidual,
    EnsembleMember,
    EnsembleResidual,
    FeaturesResidual,
    SquaredErrorResidual,
    SSIMResidual,
    TextureResidual,
    TrainingConfig,
)
from napari_ssim_defects.core.detection.anomaly_score import (
    anomaly_score,
    ensemble_score,
    fit_ensemble,
    looks_foreign,
    offsets,
    score_levels,
    weighted_by_skill,
)
from napari_ssim_defects.core.detection.predictions import PlanePredictions
from napari_ssim_defects.core.detection.residual import residual_map, score_plane


@pytest.mark.parametrize("law", [stats.norm(), stats.expon(), stats.gamma(3)])
def test_rarity_is_minus_log10_of_the_tail_probability(law):
    good = law.rvs(400_000, random_state=0).astype(np.float32)
    levels = score_levels(good)
    wanted = np.array([0.5, 1, 2, 3])
    found = anomaly_score(law.isf(10.0**-wanted).astype(np.float32), levels)
    np.testing.assert_allclose(found, wanted, atol=0.1)


def test_beyond_the_data_an_exponential_tail_goes_on():
    law = stats.expon(scale=2.0)
    levels = score_levels(law.rvs(100_000, random_state=0).astype(np.float32))
    wanted = np.array([5.0, 7.0, 9.0])
    found = anomaly_score(law.isf(10.0**-wanted).astype(np.float32), levels)
    np.testing.assert_allclose(found, wanted, rtol=0.15)
    assert anomaly_score(np.float32([1e9]), levels)[0] == 30


@pytest.mark.parametrize("good", [[1.0], [0.0] * 1000, [0.0] * 999 + [1.0], [3.0, -2.0]])
def test_any_good_pixels_give_a_scale_that_does_not_fall(good):
    levels = np.array(score_levels(np.float32(good)))
    assert np.isfinite(levels).all()
    assert (np.diff(levels) >= 0).all()
    residuals = np.linspace(-5, 5, 101, dtype=np.float32)
    found = anomaly_score(residuals, levels)
    assert (np.diff(found) >= 0).all()
    assert anomaly_score(np.float32([1e9]), levels)[0] == 30
    assert anomaly_score(np.float32([min(good)]), levels)[0] < 3


MEMBERS = (
    EnsembleMember(residual=SquaredErrorResidual()),
    EnsembleMember(residual=DiscriminatorResidual()),
    EnsembleMember(residual=TextureResidual(smoothing=1.0)),
)


def test_combination_has_the_scale_of_its_members(rng):
    maps = [[rng.gamma(2, size=(200, 300)).astype(np.float32) for _ in range(2)] for _ in MEMBERS]
    maps[0][0][:20] = maps[1][0][:20] = maps[2][0][:20] = np.nan  # not allowed
    fitted = fit_ensemble(EnsembleResidual(members=MEMBERS), maps)
    assert fitted.is_measured
    found = [
        ensemble_score(together, fitted, offsets(together, fitted))
        for together in zip(*maps, strict=True)
    ]
    values = np.concatenate([plane[np.isfinite(plane)] for plane in found])
    assert len(values) == 2 * 200 * 300 - 20 * 300
    for decades in (1, 2, 3):
        assert (values > decades).mean() == pytest.approx(10.0**-decades, rel=0.2)


def test_a_plane_is_scored_by_each_of_its_members(rng):
    plane, other = rng.random((2, 1, 30, 40), dtype=np.float32)
    odds, improbability = rng.normal(size=(2, 30, 40)).astype(np.float32)
    predictions = PlanePredictions(other, {"discriminator": odds, "texture": improbability})
    maps = [score_plane(plane, predictions, member.residual) for member in MEMBERS]
    np.testing.assert_array_equal(maps[0], residual_map(plane, other, SquaredErrorResidual()))
    probability = 1 / (1 + np.exp(-odds.astype(np.float64)))
    np.testing.assert_allclose(maps[1], -np.log(1 - probability), rtol=1e-4, atol=1e-6)
    fitted = fit_ensemble(EnsembleResidual(members=MEMBERS), [[found] for found in maps])
    expected = ensemble_score(maps, fitted, offsets(maps, fitted))
    np.testing.assert_array_equal(score_plane(plane, predictions, fitted), expected)


def test_an_image_is_compared_with_itself_by_what_is_inspected_only(rng):
    plane = rng.random((1, 60, 80), dtype=np.float32)
    other = plane + rng.normal(scale=0.1, size=plane.shape).astype(np.float32)
    views = PlanePredictions(other, {})
    view = EnsembleMember(residual=SquaredErrorResidual())
    good = score_plane(plane, views, view.residual)
    fitted = fit_ensemble(EnsembleResidual(members=(view,)), [[good]])
    inside = np.zeros((60, 80), bool)
    inside[56:] = True
    other[:, :56] += 0.5  # nearly all of the image is unlike good material
    expected = score_plane(plane[:, 56:], PlanePredictions(other[:, 56:], {}), fitted)
    found = score_plane(plane, views, fitted, inside)
    np.testing.assert_allclose(found[56:], expected, atol=1e-5)
    assert (score_plane(plane, views, fitted)[56:] < found[56:]).any()


def test_a_rarity_needs_what_it_is_made_of():
    residual = EnsembleResidual(members=MEMBERS)
    with pytest.raises(InputError, match="needs discriminator=True"):
        TrainingConfig(residual=residual, texture=True)
    with pytest.raises(InputError, match="needs texture=True"):
        TrainingConfig(residual=residual, discriminator=True)
    TrainingConfig(residual=residual, discriminator=True, texture=True)


def test_levels_that_fall_are_refused():
    with pytest.raises(InputError, match="must not fall"):
        EnsembleResidual(members=MEMBERS, levels=(1.0, 0.5))


def test_a_member_counts_by_its_weight_and_a_network_by_what_it_has_learned(rng):
    ssim = EnsembleMember(residual=SSIMResidual())
    config = EnsembleResidual(members=(ssim, *MEMBERS[1:]))
    maps = [[rng.gamma(2, size=(100, 100)).astype(np.float32)] for _ in MEMBERS]
    skills = {MEMBERS[1].residual: 0.86, MEMBERS[2].residual: 0.9}
    learned = weighted_by_skill(config, reconstruction_skill=0.75, skills=skills)
    assert [member.weight for member in learned.members] == pytest.approx([0.5, 0.5, 1])
    fitted = fit_ensemble(learned, maps)
    rarities = [
        anomaly_score(found, member.levels).astype(float)
        for (found,), member in zip(maps, fitted.members, strict=True)
    ]
    logarithms = np.log(np.array(rarities).clip(max=10) + 0.3)
    mean = np.exp(np.average(logarithms, axis=0, weights=[0.5, 0.5, 1])) - 0.3
    expected = anomaly_score(mean.astype(np.float32), fitted.levels)
    found = ensemble_score([found for (found,) in maps], fitted, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_is_rare_in_every_member_counts_for_more_than_what_is_very_rare_in_one(rng):
    maps = [[rng.gamma(2, size=(200, 200)).astype(np.float32)] for _ in MEMBERS[:2]]
    fitted = fit_ensemble(EnsembleResidual(members=MEMBERS[:2]), maps)
    levels = [np.asarray(member.levels, np.float32) for member in fitted.members]
    # Levels are a quarter apart: rarities of 3 and 3, of 6 and 0, and of 0 and 6.
    places = np.array([[12, 24, 0], [12, 0, 24]])
    found = [each[place][np.newaxis] for each, place in zip(levels, places, strict=True)]
    together, one, other = ensemble_score(found, fitted, (0.0, 0.0))[0]
    assert together > one + 1
    assert together > other + 1


def test_a_network_that_has_learned_too_little_does_not_count_at_all():
    config = EnsembleResidual(members=(EnsembleMember(residual=SSIMResidual()), *MEMBERS[1:]))
    skills = {MEMBERS[1].residual: 0.79, MEMBERS[2].residual: 0.7}
    failed = weighted_by_skill(config, reconstruction_skill=0.5, skills=skills)
    assert [member.residual.kind for member in failed.members] == ["texture"]
    alone = EnsembleResidual(members=(EnsembleMember(residual=SSIMResidual()),))
    assert (
        len(weighted_by_skill(alone, reconstruction_skill=0.1, skills={}).members) == 1
    )  # there is no other
    assert weighted_by_skill(SquaredErrorResidual(), 0.25, {}) == SquaredErrorResidual()


@pytest.fixture
def fitted_and_good(rng):
    maps = [[rng.gamma(2, size=(200, 200)).astype(np.float32)] for _ in MEMBERS]
    return fit_ensemble(EnsembleResidual(members=MEMBERS), maps), [found for (found,) in maps]


def test_good_images_are_not_offset(fitted_and_good):
    fitted, good = fitted_and_good
    # Below the median, rarities are measured coarsely.
    assert offsets(good, fitted) == pytest.approx((0, 0, 0), abs=0.15)
    assert offsets([0.1 * found for found in good], fitted) == (0, 0, 0)


def test_an_image_that_differs_as_a_whole_is_compared_with_itself(fitted_and_good):
    fitted, good = fitted_and_good
    other = [good[0] + np.float32(1.5), *good[1:]]
    found = offsets(other, fitted)
    lowest = np.quantile(other[0], 0.1)
    expected = -np.log10((good[0] > lowest).mean()) + np.log10(0.9)
    assert found[0] == pytest.approx(expected, abs=0.1)
    assert found[1:] == pytest.approx((0, 0), abs=0.15)
    defect = np.zeros((200, 200), bool)
    defect[50:60, 50:60] = True
    spoilt = [np.where(defect, 20.0, member).astype(np.float32) for member in other]
    scores = ensemble_score(spoilt, fitted, offsets(spoilt, fitted))
    assert (scores[~defect] > 2).mean() < 0.02
    assert (ensemble_score(spoilt, fitted, (0, 0, 0))[~defect] > 2).mean() > 0.02
    assert scores[defect].min() > 3


@pytest.mark.parametrize(
    ("excess", "foreign"),
    [
        ((3.4, 30, 30), False),  # another phase of a strictly periodic weave, after four images
        ((5.0, 0, 0), True),  # the features of 28 of 30 pairs of materials
    ],
)
def test_an_image_is_foreign_when_its_features_are_far_from_all_good_ones(excess, foreign):
    kinds = FeaturesResidual(), SSIMResidual(), TextureResidual()
    config = EnsembleResidual(members=[EnsembleMember(residual=kind) for kind in kinds])
    assert looks_foreign(excess, config) is foreign


def test_large_defects_do_not_make_an_image_its_own_measure(fitted_and_good):
    fitted, good = fitted_and_good
    spoilt = [found.copy() for found in good]
    for found in spoilt:
        found[:160] = 30  # four fifths of it
    assert offsets(spoilt, fitted) == pytest.approx((0, 0, 0), abs=0.3)
    assert ensemble_score(spoilt, fitted, offsets(spoilt, fitted))[:160].min() > 3


def test_another_material_stays_rare_as_a_whole(fitted_and_good):
    fitted, good = fitted_and_good
    other = [found + 30 for found in good]
    assert min(offsets(other, fitted)) > 4
    assert ensemble_score(other, fitted, offsets(other, fitted)).min() > 3


def test_pixels_that_are_not_known_do_not_count(fitted_and_good):
    fitted, good = fitted_and_good
    holes = [np.where(np.arange(200) < 20, np.float32(np.nan), found) for found in good]
    assert offsets(holes, fitted) == pytest.approx(offsets(good, fitted), abs=0.05)
    nothing = [np.full_like(found, np.nan) for found in good]
    assert offsets(nothing, fitted) == (0, 0, 0)


@pytest.mark.parametrize("name", ["quick", "best"])
def test_presets_for_minutes_are_scored_by_rarity_and_the_papers_systems_are_not(name):
    assert TrainingConfig.preset(name).residual.kind == "rarity"
    for system in ("l2", "vae", "fmae"):
        config = TrainingConfig.preset(name).with_system(system)
        assert config == TrainingConfig.preset(name, system=system)
        assert not config.discriminator
        assert {"rarity", "discriminator", "features", "texture"}.isdisjoint(
            residual.kind for residual in config.residuals
        )
        assert config.with_system("ssim") == TrainingConfig.preset(name)
