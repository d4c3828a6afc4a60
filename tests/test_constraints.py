"Every constraint is satisfied by what comes out, alone and joined; what cannot be is refused before the run."

import json

import pytest
import torch

from dpcdvae import DPCDVAE
from dpcdvae.crystal.batch import SYMBOLS
from dpcdvae.generation.constraints import Constraints, satisfied
from dpcdvae.generation.decode import formula_counts

STEPS = 6


@pytest.fixture(scope="module")
def model():
    return DPCDVAE.from_pretrained("mp-20")


def made(model, num=3, seed=0, formula=None, **constraints):
    return model.generate(num, steps=STEPS, films=0, seed=seed, formula=formula, **constraints).crystals


def elements(crystal):
    return {SYMBOLS[z] for z in crystal.atomic_numbers.tolist()}


def test_required_elements(model):
    assert all({"Li", "O"} <= elements(c) for c in made(model, required=["Li", "O"]))


def test_allowed_elements(model):
    assert all(elements(c) <= {"Li", "Fe", "P", "O"} for c in made(model, allowed=["Li", "Fe", "P", "O"]))


def test_one_allowed_element(model):
    assert all(elements(c) == {"Si"} for c in made(model, allowed=["Si"]))


def test_forbidden_elements(model):
    free = made(model, 12)
    common = {"O"} & set.union(*(elements(c) for c in free))
    assert common, "the test forbids an element that this seed draws"
    assert all("O" not in elements(c) for c in made(model, 12, forbidden=["O"]))


def test_number_of_atoms(model):
    assert made(model, num_atoms=7).num_atoms.tolist() == [7, 7, 7]
    assert all(4 <= n <= 6 for n in made(model, 6, num_atoms=(4, 6)).num_atoms.tolist())


@pytest.mark.parametrize(
    "wrong, word",
    [("SrTi03", "the letter O"), ("Water", "give elements"), ("Xx2O", "Xx"), ("Fe0.5O", "whole")],
)
def test_formula_errors_name_the_mistake(wrong, word):
    with pytest.raises(ValueError, match=word) as e:
        formula_counts(wrong)
    assert wrong in str(e.value) and "\n" not in str(e.value)


def test_reduced_formula_with_any_number_of_units(model):
    crystals = made(model, 6, reduced_formula="TiO2")
    one = formula_counts("TiO2")
    for c in crystals:
        counts = torch.bincount(c.atomic_numbers - 1, minlength=100)
        assert len(c.atomic_numbers) % 3 == 0 and torch.equal(counts * 3, one * int(counts.sum()))
    assert len(set(crystals.num_atoms.tolist())) > 1


def test_space_group_and_positions(model):
    c = Constraints(space_group=225, wyckoff=["a:Na", "b:Cl"])
    crystals = made(model, constraints=c)
    assert satisfied(crystals, c).all()
    assert crystals.num_atoms.tolist() == [2, 2, 2]
    assert not satisfied(crystals, Constraints(space_group=227)).any()


def test_positions_with_free_coordinates(model):
    "What has no atoms on top of each other has the group; six steps leave some that have."
    from dpcdvae.evaluation.validity import structure_validity

    c = Constraints(space_group=62, wyckoff=["c:Ca", "b:Ti", "c:O", "d:O"])
    crystals = made(model, 4, constraints=c)
    apart = torch.tensor([structure_validity(s).ok for s in crystals.to_structures()])
    assert apart.any()
    assert satisfied(crystals, c)[apart].all()


def test_cell(model):
    c = Constraints(cell=(4.6, 4.6, 2.95, 90, 90, 90), reduced_formula="TiO2", num_atoms=6)
    crystals = made(model, constraints=c)
    assert satisfied(crystals, c).all()
    assert (crystals.lengths - torch.tensor(c.cell[:3])).abs().max() < 1e-5


def test_fixed_sites(model):
    sites = (("Ti", 0.5, 0.5, 0.5), ("O", 0.5, 0.5, 0.0))
    c = Constraints(fixed_sites=sites, reduced_formula="SrTiO3", num_atoms=5)
    crystals = made(model, constraints=c)
    assert satisfied(crystals, c).all()
    for crystal in crystals:
        titanium = crystal.frac_coords[crystal.atomic_numbers == 22]
        assert torch.equal(titanium, torch.full((1, 3), 0.5))


def test_a_group_is_drawn_for_each_crystal(model):
    import spglib

    crystals = made(model, 6, symmetry="draw")
    numbers = [
        spglib.get_symmetry_dataset(
            (c.lattice[0].double().numpy(), c.frac_coords.double().numpy(), c.atomic_numbers.numpy()),
            symprec=0.01,
        )
        for c in crystals
    ]
    assert sum(d is not None and d.number > 1 for d in numbers) >= 4


def test_joined(model):
    c = Constraints(space_group=221, required=["O"], forbidden=["Pb"], num_atoms=5)
    crystals = made(model, 4, constraints=c)
    assert satisfied(crystals, c).all()
    c = Constraints(space_group=136, reduced_formula="TiO2", cell=(4.6, 4.6, 2.95, 90, 90, 90))
    assert satisfied(made(model, 2, constraints=c), c).all()


def test_same_seed_same_crystals_in_any_block(model):
    c = Constraints(symmetry="draw", num_atoms=(2, 8))
    whole = model.generate(4, steps=STEPS, films=0, constraints=c).crystals
    again = model.generate(4, steps=STEPS, films=0, constraints=c, block=2).crystals
    assert torch.equal(whole.atomic_numbers, again.atomic_numbers)
    assert torch.allclose(whole.frac_coords, again.frac_coords, atol=1e-4)


def test_a_job_keeps_its_constraints(model, tmp_path):
    ask = dict(steps=STEPS, out=tmp_path / "job", space_group=221, wyckoff=["a:Cs", "b:Cl"])
    model.generate(2, **ask)
    assert json.loads((tmp_path / "job" / "run.json").read_text())["constraints"]["space_group"] == 221
    with pytest.raises(ValueError, match="holds another job"):
        model.generate(2, **ask | dict(wyckoff=["a:Cl", "b:Cs"]))


@pytest.mark.parametrize(
    "ask, said",
    [
        (dict(required=["Xx"]), "not an element"),
        (dict(required=["O"], allowed=["Si"]), "not among the allowed"),
        (dict(required=["O"], forbidden=["O"]), "is forbidden"),
        (dict(num_atoms=0), "num_atoms is 0"),
        (dict(num_atoms=99), "knows cells up to 24"),
        (dict(reduced_formula="TiO2", num_atoms=4), "no cell of up to 4"),
        (dict(reduced_formula="TiO2", required=["Sr"]), "not in TiO2"),
        (dict(space_group=231), "from 1 to 230"),
        (dict(space_group=225, symmetry="draw"), "leave symmetry away"),
        (dict(symmetry="given"), "give space_group"),
        (dict(wyckoff=["a:Na"]), "wyckoff needs space_group"),
        (dict(space_group=225, wyckoff=["z:Na"]), "no Wyckoff position 'z'"),
        (dict(space_group=225, wyckoff=["a:Na", "a:Cl"]), "holds one orbit"),
        (dict(space_group=225, wyckoff=["l:Na"]), "the model holds 24"),
        (dict(space_group=225, reduced_formula="NaClO", num_atoms=3), "no cell of up to 3 atoms"),
        (dict(fixed_sites=[("Ti", 0, 0, 0)], symmetry="draw"), "cannot be joined"),
        (dict(cell=(4, 4, 4)), "three lengths"),
        (dict(formula="SrTiO3", num_atoms=5), "says everything"),
        (dict(space_group=225, wyckoff=["a:Na", "b:Cl"], cell=(3, 4, 5, 90, 90, 90)), "is strained by"),
    ],
)
def test_refused_in_one_sentence(model, ask, said):
    with pytest.raises(ValueError, match=said) as e:
        model.generate(1, steps=1, films=0, **ask)
    assert "\n" not in str(e.value)


def test_the_prior_adds_up(model):
    "Orbits that are drawn hold the formula exactly, and a position without free coordinate once."
    from dpcdvae.model.symmetry_prior import draw_groups, draw_sites, load_symmetry_prior
    from dpcdvae.model.wyckoff_labels import group_sites

    prior = load_symmetry_prior(model)
    formulas = ("SrTiO3", "NaCl", "Ca2(FeO2)3", "Si8", "LiFePO4", "Mg2Al4O8")
    counts = torch.stack([formula_counts(f) for f in formulas])
    u = torch.rand(6, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers = draw_groups(prior, counts, u[:, 0])
    for number, sites, wanted in zip(numbers.tolist(), draw_sites(prior, counts, numbers, u[:, 1:]), counts):
        size, free = group_sites(number)
        found = torch.zeros(100, dtype=torch.long)
        for z, letter in sites:
            found[z - 1] += size[letter]
        assert torch.equal(found, wanted)
        single = [letter for _, letter in sites if not free[letter]]
        assert len(single) == len(set(single))
