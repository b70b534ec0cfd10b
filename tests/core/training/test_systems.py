"""All four systems of the paper, from training to thresholds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.common.progress import PreparationProgress
from napari_ssim_defects.core.config import (
    ReconstructionProbabilityResidual,
    SquaredErrorResidual,
    SSIMResidual,
    TrainingConfig,
)
from napari_ssim_defects.core.detection.reconstruction import SampledReconstruction
from napari_ssim_defects.core.detection.residual import residual_map
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.model.thresholds import FixedThreshold
from napari_ssim_defects.core.networks.alexnet import AlexNetFeatures
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.core.training.losses import Criterion, training_loss
from napari_ssim_defects.core.training.messages import TrainingStep
from napari_ssim_defects.core.training.train import STOP, train

TINY = {
    "patch_size": 16, "latent_dimension": 8, "batch_size": 8, "patches": 40, "epochs": 2,
    "stride": 8, "ssim": {"window_size": 7},
}  # fmt: skip
KINDS = {
    "ssim": ["ssim", "squared_error"],
    "l2": ["squared_error", "ssim"],
    "vae": ["reconstruction_probability", "ssim", "squared_error"],
    "fmae": ["squared_error", "ssim"],
}


@pytest.fixture(scope="session")
def made_up_alexnet(tmp_path_factory):
    """Random weights of AlexNet's shapes: they show that the plumbing holds, nothing else."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "features.0.weight": (64, 3, 11, 11), "features.0.bias": (64,),
        "features.3.weight": (192, 64, 5, 5), "features.3.bias": (192,),
        "features.6.weight": (384, 192, 3, 3), "features.6.bias": (384,),
    }  # fmt: skip
    path = tmp_path_factory.mktemp("alexnet") / "made-up.safetensors"
    save_file(
        {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()},
        path,
    )
    return path


@pytest.fixture(scope="session")
def trained(grating, made_up_alexnet):
    def run(system, **changes):
        config = TrainingConfig(system=system, **{**TINY, **changes})
        *_, last = train([grating()], config, device="cpu", alexnet=made_up_alexnet)
        return last.model

    return run


@pytest.mark.slow
@pytest.mark.parametrize("system", ["ssim", "l2", "vae", "fmae"])
def test_every_system_trains_saves_loads_and_inspects(system, trained, grating, tmp_path):
    model = trained(system)
    assert [calibrated.residual.kind for calibrated in model.calibrated_residuals] == KINDS[system]
    model.save(tmp_path / "model.safetensors")
    read = DefectModel.load(tmp_path / "model.safetensors")
    image = grating(40, 50)
    for kind in KINDS[system]:
        residual = model.with_residual(kind).residual(image)
        np.testing.assert_array_equal(read.with_residual(kind).residual(image), residual)
        assert residual.shape == (40, 50)
        assert residual.min() >= 0
        assert read.with_residual(kind).auto_threshold == model.with_residual(kind).auto_threshold
    assert read.reconstruct(image).shape == (40, 50)


@pytest.mark.parametrize("system", ["l2", "vae"])
def test_each_residual_has_its_own_calibration(system, trained, grating):
    model = trained(system, validation=0)
    for kind in KINDS[system]:
        scored = model.with_residual(kind)
        exceed = (scored.residual(grating()) > scored.calibration.threshold(0.05)).mean()
        assert exceed == pytest.approx(0.05, abs=0.01)
        assert scored.with_residual(model.config.residual.kind).auto_threshold == (
            model.auto_threshold
        )


def test_a_number_is_no_threshold_of_another_residual(trained):
    from dataclasses import replace

    model = replace(trained("l2"), threshold=FixedThreshold(value=0.25))
    assert model.auto_threshold == 0.25
    assert model.with_residual("squared_error").auto_threshold == 0.25
    other = model.with_residual("ssim")
    assert other.auto_threshold == other.calibration.threshold_of_regions(1)


def test_residual_that_makes_no_sense_is_refused(trained):
    with pytest.raises(InputError, match="choose one of squared_error, ssim"):
        trained("l2").with_residual("reconstruction_probability")
    with pytest.raises(InputError, match="only the system 'vae'"):
        TrainingConfig(system="l2", residual=ReconstructionProbabilityResidual())


@pytest.mark.parametrize("preset", ["quick", "best", "paper"])
def test_residuals_of_a_preset_are_those_of_its_systems(preset):
    ssim = TrainingConfig.preset(preset)
    for system in ("l2", "vae", "fmae"):
        config = TrainingConfig.preset(preset, system=system)
        assert config.residuals[0] == config.residual
        assert ssim.reconstruction_residual in config.residuals
        assert SquaredErrorResidual() in config.residuals


def test_vae_encodes_mean_and_variance_and_has_as_many_more_weights():
    plain = Autoencoder.from_config(TrainingConfig.preset("paper"), 1)
    vae = Autoencoder.from_config(TrainingConfig.preset("paper", system="vae"), 1)
    counts = [sum(p.numel() for p in network.parameters()) for network in (plain, vae)]
    assert counts[1] - counts[0] == 500 * (8 * 8 * 32 + 1)
    mean, log_variance = vae.encode(torch.rand(2, 1, 128, 128))
    assert mean.shape == log_variance.shape == (2, 500, 1, 1)


@pytest.fixture
def vae():
    network = Autoencoder(16, 2, 6, variational=True).eval()
    initialise(network, 0)
    return network


def test_kl_term_is_the_divergence_of_the_gaussians(vae):
    patches = torch.rand(5, 2, 16, 16)
    config = TrainingConfig(system="vae", kl_weight=3.0)
    mean, log_variance = vae.encode(patches)
    found = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    divergence = torch.distributions.kl_divergence(found, torch.distributions.Normal(0.0, 1.0))
    expected = training_loss(patches, vae(patches), config)
    expected = expected + 3 * divergence.sum() / 5 / (2 * 16 * 16)
    loss = Criterion(config, torch.Generator().manual_seed(0))(vae, patches)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_training_decodes_random_latent_samples_by_the_seed(vae):
    patches, config = torch.rand(5, 2, 16, 16), TrainingConfig(system="vae")
    vae.train()
    losses = [
        Criterion(config, torch.Generator().manual_seed(seed))(vae, patches).item()
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_feature_distance_is_weighted_by_lambda():
    network = Autoencoder(16, 1, 6).eval()
    patches = torch.rand(3, 1, 16, 16)

    def features(x):
        return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], dim=1)[..., None, None]

    config = TrainingConfig(system="fmae", feature_weight=7.0)
    distance = (features(network(patches)) - features(patches)).square().mean()
    expected = training_loss(patches, network(patches), config) + 7 * distance
    loss = Criterion(config, torch.Generator(), features)(network, patches)
    torch.testing.assert_close(loss, expected)


def test_sampled_reconstruction_is_mean_and_variance_of_the_decoded_samples(vae):
    patches, found = torch.rand(3, 2, 16, 16), SampledReconstruction(vae, 6, seed=1)
    with torch.no_grad():
        both = found(patches)
        mean, log_variance = vae.encode(patches)
        decoded = torch.stack([
            vae.decoder(mean + noise * torch.exp(0.5 * log_variance)) for noise in found._noise
        ])  # fmt: skip
    torch.testing.assert_close(both[:, :2], decoded.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both[:, 2:], decoded.var(0, correction=0), rtol=1e-3, atol=1e-5)


def test_samples_depend_on_the_seed_but_not_on_other_patches(vae):
    patches = torch.rand(4, 2, 16, 16)
    with torch.no_grad():
        first = SampledReconstruction(vae, 6, seed=1)(patches)
        alone = SampledReconstruction(vae, 6, seed=1)(patches[2:3])
        other = SampledReconstruction(vae, 6, seed=2)(patches)
    torch.testing.assert_close(first[2:3], alone)
    assert not torch.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("samples", [2, 6, 50])
def test_few_samples_have_the_mean_and_variance_of_the_latent_distribution(vae, samples):
    noise = SampledReconstruction(vae, samples, seed=3)._noise
    torch.testing.assert_close(noise.mean(0), torch.zeros(6, 1, 1), rtol=0, atol=1e-6)
    torch.testing.assert_close(noise.square().mean(0), torch.ones(6, 1, 1))


def test_reconstruction_probability_is_a_gaussian_likelihood(rng):
    from scipy import stats

    x, mean = rng.random((2, 2, 9, 8)).astype(np.float32)
    variance = (0.1 * rng.random((2, 9, 8))).astype(np.float32)
    config = ReconstructionProbabilityResidual(noise=0.2)
    spread = np.sqrt(variance.astype(np.float64) + 0.04)
    expected = -stats.norm.logpdf(x, mean, spread) + stats.norm.logpdf(0, 0, 0.2)
    residual = residual_map(x, np.concatenate([mean, variance]), config)
    np.testing.assert_allclose(residual, expected.mean(0), rtol=1e-4, atol=1e-5)
    certain = residual_map(x, np.concatenate([x, 0 * x]), config)
    assert (certain == 0).all()


@pytest.mark.slow
def test_variance_does_not_depend_on_the_stride(trained, grating):
    model = trained("vae")
    by_stride = [model.residual(grating(), stride=stride)[16:48, 16:48] for stride in (4, 8)]
    assert by_stride[0].mean() == pytest.approx(by_stride[1].mean(), rel=0.2)


@pytest.mark.slow
def test_same_seed_gives_the_same_vae(trained, grating):
    first, second = trained("vae"), trained("vae")
    np.testing.assert_array_equal(first.residual(grating()), second.residual(grating()))
    assert first.alternatives[0].residual == SSIMResidual(ssim=({"window_size": 7},))


@pytest.mark.slow
def test_installed_features_need_no_file_and_change_the_training(trained, grating):
    *_, last = train(
        [grating()],
        TrainingConfig(system="fmae", feature_network="efficientnet-lite0", **TINY),
        device="cpu",
    )
    image = grating(40, 50)
    assert np.isfinite(last.model.residual(image)).all()
    assert not np.array_equal(last.model.residual(image), trained("fmae").residual(image))


def test_a_stop_while_alexnet_is_fetched_is_heeded(grating, made_up_alexnet, monkeypatch):
    read = AlexNetFeatures.pretrained

    def fetched(path):
        yield PreparationProgress("Fetching AlexNet's weights", 0.5)
        return (yield from read(made_up_alexnet))

    monkeypatch.setattr(AlexNetFeatures, "pretrained", fetched)
    steps = train([grating()], TrainingConfig(system="fmae", **TINY), device="cpu")
    assert isinstance(next(steps), PreparationProgress)
    rest = [steps.send(STOP), *steps]
    assert not any(isinstance(message, TrainingStep) for message in rest)
    assert rest[-1].stopped
