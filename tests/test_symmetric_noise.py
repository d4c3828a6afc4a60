"Noise that keeps the space group of training crystals"

import pytest
import torch

from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.crystal.symmetry import Symmetry, cell_choices, place_orbits
from dpcdvae.diffusion.processes import WrappedNormal
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.module import ROW, Training, noise_symmetry

PROCESS = WrappedNormal()
SPINEL = [("a", 12), ("d", 13), ("e", 8)]  # the oxygens have one free coordinate


@pytest.fixture(scope="module")
def spinels():
    symmetry, Z = place_orbits(227, SPINEL)
    both = Symmetry.cat([symmetry, symmetry])
    lengths, angles = both.project_lattice(torch.full((2, 3), 5.7), torch.full((2, 3), 60.0))
    crystals = CrystalBatch(Z.repeat(2), both.reference.float(), lengths, angles, torch.tensor([14, 14]))
    return crystals, both


def noised(crystals, symmetry, t=300, seed=0):
    how = (torch.full((28,), t), crystals.batch, 2, torch.Generator().manual_seed(seed))
    return PROCESS.add_noise(symmetry.reference, *how, symmetry=symmetry)


@pytest.mark.parametrize("t", [50, 500, 999])
def test_noisy_crystal_and_target_have_the_symmetry(spinels, t):
    crystals, symmetry = spinels
    found = noised(crystals, symmetry, t)
    assert (found.xt - symmetry.reference).abs().max() > 1e-3
    torch.testing.assert_close(symmetry.project_coords(found.xt), found.xt, atol=1e-9, rtol=0)
    torch.testing.assert_close(symmetry.project_vectors(found.target), found.target, atol=1e-9, rtol=0)


def test_a_free_coordinate_gets_noise_of_unit_size():
    symmetry, _ = place_orbits(123, [("i", 8), ("a", 22)])  # the oxygens are free along z
    draw = torch.Generator().manual_seed(0)
    noise = torch.stack([symmetry.project_noise(torch.randn(5, 3, generator=draw)) for _ in range(400)])
    size = noise.square().mean(0)
    assert (size[:4, 2] - 1).abs().max() < 0.2
    assert size[:4, :2].max() < 1e-9 and size[4].max() < 1e-9


def test_only_the_chosen_crystals_keep_their_symmetry(spinels):
    crystals, symmetry = spinels
    some = symmetry.only(torch.tensor([False, True]))
    found, all_of_it = noised(crystals, some), noised(crystals, symmetry)
    plain = PROCESS.add_noise(
        symmetry.reference, torch.full((28,), 300), crystals.batch, 2, torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(found.xt[:14], plain.xt[:14])
    torch.testing.assert_close(found.xt[14:], all_of_it.xt[14:])


def test_a_crystal_without_an_answer_gets_free_noise(spinels):
    crystals, _ = spinels
    on_top = crystals[0].replace(frac_coords=torch.zeros(14, 3))
    nowhere = crystals[0].replace(frac_coords=torch.full((14, 3), torch.nan))  # spglib would end the process
    found = noise_symmetry(CrystalBatch.cat([crystals[:1], on_top, nowhere]))
    assert (found.weight > 0).sum(1).tolist() == [48, 1, 1]


def test_a_share_of_a_batch_keeps_its_symmetry(spinels):
    "With share 0 the loss is the one without the setting; with share 1 it is that of symmetric noise."
    crystals, symmetry = spinels
    crystals = crystals.replace(properties={ROW: torch.arange(2)})
    model = DPCDVAE(get_config("tiny", max_atoms=20)).eval()
    module, numbers = Training(model), torch.arange(2)
    module.__dict__["_trainer"] = type("Trainer", (), dict(global_step=3))()
    plain = module.losses(crystals, numbers).coord
    module.symmetry = noise_symmetry(crystals)
    torch.testing.assert_close(module.losses(crystals, numbers).coord, plain)
    model.config = model.config.change(training=dict(symmetric_noise=1.0))
    assert (module.losses(crystals, numbers).coord != plain).all()


@pytest.mark.parametrize(
    "preset, share, words", [("transformer", 1.5, "at most 1"), ("paper", 0.5, "wrapped process")]
)
def test_what_cannot_be_is_refused(preset, share, words):
    with pytest.raises(ValueError, match=words):
        get_config(preset, training=dict(symmetric_noise=share))


def test_an_interrupted_run_is_the_run_that_nobody_interrupted(tmp_path, monkeypatch, capsys):
    "The number of a crystal in the training set, which finds its symmetry, is in no file."
    from test_resume import run, same_run

    how = dict(quiet=False, training=dict(symmetric_noise=0.5))
    assert run(tmp_path / "whole", monkeypatch, **how)
    assert "finding the space groups of 40 crystals" in capsys.readouterr().out
    assert not run(tmp_path / "stopped", monkeypatch, "kill", **how)
    assert run(tmp_path / "stopped", monkeypatch, resume=True, **how)
    same_run(tmp_path / "whole", tmp_path / "stopped")
    files = [p for p in (tmp_path / "whole").rglob("*") if p.is_file()]
    assert files and not [p for p in files if ROW.encode() in p.read_bytes()]


def test_the_crystal_to_blame_is_found_with_the_noise_of_the_step(spinels):
    "A gradient that explodes under symmetric noise may be an ordinary one under other noise."
    crystals, _ = spinels
    model = DPCDVAE(get_config("tiny", max_atoms=20, training=dict(symmetric_noise=1.0))).eval()
    module = Training(model)
    module.__dict__["_trainer"] = type(
        "Trainer", (), dict(global_step=3, world_size=1, global_rank=0, strategy=None)
    )()
    module.at_work = crystals[:1].replace(properties={ROW: torch.arange(1)})
    module.symmetry = noise_symmetry(crystals[:1])
    loss = module.losses(module.at_work, torch.arange(1)).total.sum()
    found = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
    norm = torch.nn.utils.get_total_norm([g for g in found if g is not None])
    torch.testing.assert_close(module.largest_gradient()[1], float(norm))


@pytest.mark.parametrize("number", [1, 2, 15, 62, 123, 166, 194, 216, 225, 227, 230])
def test_the_first_operation_is_the_identity(number):
    "What `only` leaves to a crystal; operations of known crystals are tested by the loss of share 0."
    for rotations, translations in zip(*cell_choices(number)[1:]):
        assert torch.equal(rotations[0].double(), torch.eye(3).double()) and not translations[0].any()
