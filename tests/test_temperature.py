"A temperature of the latent prior: what is drawn below and above 1"

import json

import pytest
import torch

from dpcdvae.cli.commands import load_model
from dpcdvae.generation.decode import Sampling
from dpcdvae.model.prior import GaussianPrior, StandardPrior, choose


@pytest.fixture(scope="module")
def model():
    return load_model("mp-20")


def test_choices_are_drawn_from_the_power_of_their_probability():
    p, u = torch.tensor([0.5, 0.3, 0.2]), torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    for temperature in (0.5, 1.0, 3.0):
        wanted = p ** (1 / temperature)
        drawn = choose(p.expand(len(u), 3), u, temperature).bincount(minlength=3) / len(u)
        torch.testing.assert_close(drawn, wanted / wanted.sum(), atol=0.015, rtol=0)


def test_an_impossible_choice_stays_impossible():
    u = torch.rand(1000, generator=torch.Generator().manual_seed(1))
    assert 1 not in choose(torch.tensor([[0.9, 0.0, 0.1]]).expand(1000, 3), u, 10.0)


@pytest.mark.parametrize("prior", [StandardPrior(4), GaussianPrior(4)])
def test_normal_noise_shrinks_by_the_root(prior):
    noise = torch.randn(8, 4)
    torch.testing.assert_close(prior(noise, temperature=0.25), prior(noise) / 2)


@pytest.mark.parametrize("how", [dict(), dict(symmetry="draw")])
def test_a_low_temperature_makes_likelier_formulas(model, how):
    draw = lambda t: model.generate(24, seed=3, steps=2, temperature=t, **how).crystals
    nll = lambda made: model.prior.formulas.nll(
        torch.stack([torch.bincount(c.atomic_numbers - 1, minlength=100) for c in made]),
        torch.Generator().manual_seed(0),
    )
    assert float(nll(draw(0.3)).median()) < float(nll(draw(1.0)).median()) - 1


def test_one_is_what_it_was(model):
    "The default draws the same crystals as a call that does not name it."
    with_it = model.generate(3, seed=1, steps=2, temperature=1.0).crystals
    assert torch.equal(with_it.frac_coords, model.generate(3, seed=1, steps=2).crystals.frac_coords)


@pytest.mark.parametrize("t", [0.0, -1.0, 11.0])
def test_out_of_bounds(model, t):
    with pytest.raises(ValueError, match="temperature is"):
        Sampling(temperature=t).fill(model)


def test_a_reconstruction_has_no_temperature(model):
    with pytest.raises(ValueError, match="temperature is for generation, not for reconstruction"):
        model.reconstruct("NaCl", steps=2, temperature=0.5)


def test_a_job_keeps_its_temperature(model, tmp_path):
    "One that was begun before the setting existed has 1."
    how = dict(seed=0, steps=1, out=tmp_path)
    model.generate(1, **how)
    record = json.loads((tmp_path / "run.json").read_text())
    del record["temperature"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    model.generate(1, **how)
    with pytest.raises(ValueError, match=r"what differs: temperature\)"):
        model.generate(1, temperature=0.5, **how)
