"The encoder leads atoms to where it finds the latent vector back, and says when it cannot"

import pytest
import torch

from dpcdvae.crystal.batch import toy
from dpcdvae.data.datasets import load_crystals
from dpcdvae.diffusion.processes import Prediction
from dpcdvae.generation.best_of import compare_latents
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.encoder_guidance import LARGEST_NOISE, EncoderGuidance


@pytest.fixture(scope="module")
def trained():
    model = DPCDVAE.from_pretrained("perov_mini")
    return model, load_crystals("perov_mini", split="test", progress=False)[:16]


def test_led_crystals_are_nearer_to_their_latent_vectors(trained):
    model, test = trained
    z = model.encode(test)[0].detach()
    how = dict(steps=20, seed=1, progress=False)
    free, led = (model.reconstruct(test, encoder_guidance=k, **how).crystals for k in (0.0, 1.0))
    away = [compare_latents(model, c, z)[0].median() for c in (free, led)]
    assert away[1] < 0.8 * away[0], away
    again = model.reconstruct(test, encoder_guidance=1.0, **how).crystals
    assert torch.equal(again.frac_coords, led.frac_coords), "the same seed, the same crystals"


@pytest.mark.parametrize("t", [100, 400, 870])
def test_the_estimate_of_a_changed_prediction_is_the_one_that_has_moved(trained, t):
    model, test = trained
    guide = EncoderGuidance(model, model.encode(test)[0].detach(), 0.3)
    torch.manual_seed(0)
    pred = Prediction(torch.randn(len(test.frac_coords), 3))
    estimate = lambda p: model.process.to_x0(test.frac_coords, model.process.to_eps(p.coords, t), t)
    x0, noise = estimate(pred), float(model.process.schedule.sigma[t])
    assert noise <= LARGEST_NOISE
    moved = guide.move(test.replace(frac_coords=x0), noise)
    assert torch.allclose(estimate(guide(pred, test, t)), x0 + moved, atol=1e-5)
    far = guide.distance(test.replace(frac_coords=x0)).detach()
    length = (moved[:, None] @ test.lattice[test.batch]).squeeze(1).square().sum(-1)
    wanted = 0.3 * noise * torch.linalg.det(test.lattice).abs() ** (1 / 3) * far / (1 + far)
    rms = torch.stack([part.mean().sqrt() for part in length.split(test.num_atoms.tolist())])
    assert torch.allclose(rms, wanted, rtol=1e-3)


def test_nothing_moves_while_the_noise_is_large(trained):
    model, test = trained
    guide = EncoderGuidance(model, model.encode(test)[0].detach(), 1.0)
    pred = Prediction(torch.randn(len(test.frac_coords), 3))
    assert guide(pred, test, model.config.diffusion.num_steps) is pred


def test_what_it_cannot_lead_is_refused():
    small = dict(denoiser=dict(num_blocks=1))
    for config, strength, said in (
        (get_config("tiny", **small), -1.0, "from 0 to 10"),
        (get_config("tiny", encoder=dict(graph="crystalnn"), **small), 1.0, "no bonds yet"),
        (get_config("cdvae", **small), 1.0, "langevin makes no estimate"),
    ):
        with pytest.raises(ValueError, match=said):
            DPCDVAE(config).eval().reconstruct(toy("SrTiO3"), steps=50, encoder_guidance=strength)
    with pytest.raises(ValueError, match="encoder_guidance is for reconstruction"):
        DPCDVAE(get_config("tiny", **small)).eval().generate(2, encoder_guidance=1.0)
