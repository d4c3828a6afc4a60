"Several draws of each crystal, and formulas that are known already."

import csv
import dataclasses
import json
import shutil

import pytest
import torch
from pymatgen.core import Composition, Structure

from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.composition import element_counts, formula_keys
from dpcdvae.data.datasets import load_crystals, source_files
from dpcdvae.generation.best_of import (
    DRAW_STRIDE,
    LEVELS,
    constrained_inputs,
    denoising_error,
    draw_unknown,
    known_formulas,
)
from dpcdvae.generation.constraints import Constraints, satisfied
from dpcdvae.generation.decode import Sampling, by_size, make_sampling
from dpcdvae.generation.generate import generate
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE

STEPS = dict(steps=3, seed=4)


@pytest.fixture(scope="module")
def model():
    return DPCDVAE.from_pretrained("perov_mini")


@pytest.fixture(scope="module")
def large():
    return DPCDVAE.from_pretrained("mp-20")


def test_the_draw_of_smallest_error_is_kept_as_a_loop_by_hand_finds_it(model):
    draws, B = 4, 6
    kept = generate(model, B, best_of=draws, **STEPS).crystals
    first = generate(model, B, **STEPS).crystals
    s = make_sampling(**STEPS).fill(model)
    by_hand, errors = [first], [denoising_error(model, first, seed=4)]
    for k in range(1, draws):
        again = dataclasses.replace(s, seed=4 + k * DRAW_STRIDE)
        stats = constrained_inputs(model, torch.arange(B), again, Constraints(), like=first)
        by_hand.append(by_size(model, *stats, torch.arange(B), again))
        errors.append(denoising_error(model, by_hand[-1], seed=4))
    best = torch.stack(errors).argmin(0)
    assert len(best.unique()) > 1, "one draw is the best for all: nothing is tested"
    for i, k in enumerate(best.tolist()):
        assert torch.equal(kept[i].atomic_numbers, by_hand[k][i].atomic_numbers)
        assert torch.allclose(kept[i].frac_coords, by_hand[k][i].frac_coords, atol=1e-5)
        assert torch.allclose(kept[i].lengths, by_hand[k][i].lengths)


def test_a_film_shows_the_draw_that_is_kept(model):
    made = generate(model, 4, best_of=3, **STEPS)
    assert any("noise_seed" in film.meta for film in made)
    for film, crystal in zip(made, made.crystals):
        assert film.atomic_numbers[-1].tolist() == crystal.atomic_numbers.tolist()
        off = film.frac_unwrapped[-1] - crystal.frac_coords
        assert float((off - off.round()).abs().max()) < 1e-4


def test_a_job_of_several_draws_goes_on_and_is_shared(model, tmp_path):
    how = dict(best_of=2, block=2, reference=toy("SrTiO3"), **STEPS)
    generate(model, 5, out=tmp_path / "whole", **how)
    for k in (1, 0):
        generate(model, 5, out=tmp_path / "shared", share=(k, 2), **how)
    text = (tmp_path / "whole" / "crystals.csv").read_text()
    assert (tmp_path / "shared" / "crystals.csv").read_text() == text
    (tmp_path / "whole" / "crystals.csv").write_text(text[: len(text) // 2])
    generate(model, 5, out=tmp_path / "whole", **how)
    assert (tmp_path / "whole" / "crystals.csv").read_text() == text
    for lacking in ("best_of", "reference"):
        with pytest.raises(ValueError, match=f"what differs: {lacking}"):
            generate(model, 5, out=tmp_path / "whole", **{k: v for k, v in how.items() if k != lacking})
    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert record["best_of"] == 2 and len(record["reference"]) == 16


def test_a_job_under_constraints_does_not_go_on_without_them(model, tmp_path):
    generate(model, 2, out=tmp_path / "job", forbidden=["O"], **STEPS)
    with pytest.raises(ValueError, match="what differs: constraints"):
        generate(model, 2, out=tmp_path / "job", **STEPS)


@pytest.mark.parametrize(
    "asked",
    [
        dict(num_atoms=(2, 9)),
        dict(reduced_formula="TiO2"),
        dict(space_group=225),
        dict(symmetry="draw"),
        dict(required=("O",), forbidden=("Li",)),
    ],
    ids=str,
)
def test_draws_of_one_crystal_have_one_size_and_obey(large, asked):
    first, four = (generate(large, 5, best_of=n, steps=2, seed=1, **asked).crystals for n in (1, 4))
    assert first.num_atoms.tolist() == four.num_atoms.tolist()
    assert first.formulas() != four.formulas() or "reduced_formula" in asked
    assert satisfied(four, Constraints(**asked)).all()


def test_no_formula_of_the_reference_is_drawn(model):
    train = load_crystals("perov_mini", split="train", progress=False)
    known = formula_keys(element_counts(train))
    is_known = lambda crystals: torch.isin(formula_keys(element_counts(crystals)), known)
    assert is_known(generate(model, 16, **STEPS).crystals).any()
    for n in (1, 2):
        assert not is_known(generate(model, 16, reference=train, best_of=n, **STEPS).crystals).any()


def test_the_reference_of_a_data_set_is_its_training_split(model, tmp_path):
    "By name, in a folder of splits and in a list; one file, and crystals in memory, are taken whole."
    split = lambda part: load_crystals("perov_mini", split=part, progress=False)
    train, test = known_formulas(split("train")), known_formulas(split("test"))
    assert not torch.isin(test, train).all()
    for name in ("train", "test"):
        file = source_files("perov_mini")[name][0]
        shutil.copy(file, tmp_path / f"{name}{''.join(file.suffixes)}")
    for source in ("perov_mini", "perov-mini", tmp_path, [str(tmp_path)]):
        assert torch.equal(known_formulas(source), train)
    [file] = tmp_path.glob("test.*")
    assert torch.equal(known_formulas(str(file)), test) and torch.equal(known_formulas(split("test")), test)
    assert torch.equal(known_formulas("NaCl"), known_formulas(toy("NaCl")))
    file.rename(tmp_path / file.name.replace("test", "other"))
    (tmp_path / "some").mkdir()
    shutil.copy(next(tmp_path.glob("other.*")), tmp_path / "some")
    assert torch.equal(known_formulas(tmp_path / "some"), test)


def test_formulas_of_the_test_split_can_be_drawn(model, tmp_path):
    "A model that draws one formula of the test split is not kept from it by the name of its data set."
    split = lambda part: load_crystals("perov_mini", split=part, progress=False)
    train, test = split("train"), split("test")
    new = ~torch.isin(formula_keys(element_counts(test)), formula_keys(element_counts(train)))
    formula = test[int(new.nonzero()[0])].formulas()[0]
    ask = f"generate --model perov_mini --num 1 --steps 2 --formula {formula} --out {tmp_path / 'new'}"
    assert main([*ask.split(), "--reference", "perov_mini"]) == 0
    [row] = csv.DictReader(open(tmp_path / "new" / "crystals.csv"))
    assert Structure.from_str(row["cif"], "cif").composition == Composition(formula)


def test_where_every_formula_is_known_it_is_said(model):
    with pytest.raises(ValueError, match="known formulas only, for 2 of 2 crystals: raise temperature"):
        generate(model, 2, formula="SrTiO3", reference=toy("SrTiO3"), forbidden=[], symmetry="free", **STEPS)
    normal = DPCDVAE(get_config("tiny", latent=dict(prior="standard")))
    with pytest.raises(ValueError, match="draws no formulas"):
        generate(normal, 2, reference=toy("SrTiO3"), **STEPS)


def test_a_later_draw_keeps_the_formula_where_all_of_its_size_are_known():
    counts = element_counts(CrystalBatch.cat([toy("NaCl"), toy("Cu")]))
    salt = lambda ids, s, num_atoms: counts[:1].expand(len(ids), -1)
    like, known = CrystalBatch.cat([toy("Cu"), toy("Cu")]), formula_keys(counts[:1])
    got = draw_unknown(salt, torch.arange(2), Sampling(), known, like)
    assert torch.equal(got, counts[[1, 1]])


def test_other_priors_draw_several_times_too():
    torch.manual_seed(0)
    normal = DPCDVAE(get_config("tiny", latent=dict(prior="standard")))
    normal.prepare(CrystalBatch.cat([toy("SrTiO3"), toy("NaCl")]))
    for weight in normal.denoiser.parameters():  # the last layer begins at zero, and finds all crystals alike
        torch.nn.init.normal_(weight, std=0.1)
    one, three = (generate(normal, 4, best_of=n, **STEPS).crystals for n in (1, 3))
    assert one.num_atoms.tolist() == three.num_atoms.tolist()
    before, after = (denoising_error(normal, c, seed=4) for c in (one, three))
    assert (after <= before * 1.001).all() and (after < before).any()


def test_the_error_counts_every_evaluation_and_belongs_to_the_crystal(model):
    test = load_crystals("perov_mini", split="test", progress=False)[:6]
    one, two, eight = (denoising_error(model, test, evaluations=n) for n in (1, 2, 8))
    assert not torch.allclose(one, two) and not torch.allclose(two, eight)
    turned = denoising_error(model, test[[5, 4, 3, 2, 1, 0]], torch.tensor([5, 4, 3, 2, 1, 0]), batch_size=4)
    assert torch.allclose(turned.flip(0), eight, rtol=2e-2)
    assert not torch.allclose(denoising_error(model, test, seed=1), eight, rtol=1e-3)


def test_noise_is_put_on_at_every_level(model, monkeypatch):
    test, seen, T = load_crystals("perov_mini", split="test", progress=False)[:2], [], 999
    add_noise = type(model.process).add_noise
    record = lambda self, x, t, *rest, **how: seen.append(int(t[0])) or add_noise(self, x, t, *rest, **how)
    monkeypatch.setattr(type(model.process), "add_noise", record)
    denoising_error(model, test, evaluations=8)
    assert seen == [round(share * T) for share in LEVELS] * 2


def test_draws_are_refused_where_they_would_do_nothing(model):
    with pytest.raises(ValueError, match="best_of is 0: it must be at least 1"):
        generate(model, 2, best_of=0)
    with pytest.raises(ValueError, match="best_of is for generation, not for reconstruction"):
        model.reconstruct(toy("SrTiO3"), best_of=2)
    with pytest.raises(ValueError, match="crystalnn"):
        Sampling(best_of=2).fill(bonded := DPCDVAE(get_config("tiny", encoder=dict(graph="crystalnn"))))
    with pytest.raises(ValueError, match="reads bonds, which these crystals do not have"):
        denoising_error(bonded, toy("SrTiO3"))


def test_formula_keys_are_those_of_reduced_formulas():
    counts = element_counts(CrystalBatch.cat([toy(n) for n in ("Cu", "NaCl", "SrTiO3", "CsCl")]))
    keys = formula_keys(torch.cat([counts, 3 * counts]))
    assert keys[:4].tolist() == keys[4:].tolist() and len(keys.unique()) == 4
