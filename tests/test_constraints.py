"Every constraint is satisfied by what comes out, alone and joined; what cannot be is refused before the run."

import json

import pytest
import torch

from dpcdvae import DPCDVAE
from dpcdvae.crystal.batch import SYMBOLS, CrystalBatch, toy
from dpcdvae.crystal.lattice import lattice_from_parameters, parameters_from_lattice, wrap
from dpcdvae.crystal.symmetry import place_orbits
from dpcdvae.crystal.wyckoff import space_group
from dpcdvae.generation.constrained_draws import fix_sites, formula_units
from dpcdvae.generation.constraints import Constraints, relabellings, satisfied
from dpcdvae.generation.decode import formula_counts

STEPS = 6
TWO_TITANIUM = (("Ti", 0, 0, 0), ("Ti", 0.5, 0.5, 0.5))


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


def test_cells_with_fewer_atoms_than_fixed_sites_are_not_drawn(model):
    c = Constraints(fixed_sites=TWO_TITANIUM, reduced_formula="TiO2")
    cells, weight = formula_units(model.prior.formulas, c)
    assert (cells[:, 21] >= 2).all() and float(weight.sum()) == pytest.approx(1)
    assert satisfied(made(model, 8, constraints=c), c).all()


def test_a_site_stays_in_its_own_crystal():
    "A crystal without an atom for a site is refused; before, the site took an atom of the next crystal."
    sites = Constraints(fixed_sites=TWO_TITANIUM)
    Z, num_atoms = torch.tensor([22, 8, 8, 22, 22, 8, 8, 8, 8]), torch.tensor([3, 6])
    with pytest.raises(ValueError, match="no atom of Ti for the site .* in 1 of 2 crystals"):
        fix_sites(sites, Z, num_atoms)
    with pytest.raises(ValueError, match="no atom of Ti for the site .* in 1 of 1 crystal"):
        fix_sites(sites, Z[:3], num_atoms[:1])
    held = fix_sites(sites, torch.cat([Z[3:], Z[3:]]), num_atoms[[1, 1]])
    assert held.fixed.nonzero().flatten().tolist() == [0, 1, 6, 7]


def test_crystals_in_a_folder_are_looked_at_in_their_own_cells(model, tmp_path):
    c = Constraints(cell=(4.6, 4.6, 2.95, 90, 90, 90), reduced_formula="TiO2", num_atoms=6)
    model.generate(2, steps=STEPS, out=tmp_path / "rutile", constraints=c)
    assert satisfied(str(tmp_path / "rutile"), c).all()


def test_a_cell_that_does_not_fit_leaves_no_job(model, tmp_path):
    ask = dict(steps=1, out=tmp_path / "job", space_group=225, wyckoff=["a:Na", "b:Cl"])
    with pytest.raises(ValueError, match="is strained by .* space group 225 allows"):
        model.generate(1, **ask, cell=(4, 4, 4, 90, 90, 90))
    assert not (tmp_path / "job" / "run.json").exists()
    model.generate(1, **ask, cell=(4, 4, 4, 60, 60, 60))


@pytest.mark.parametrize(
    "crystal, number, yes",
    [
        ("Si", 227, True),
        ("Si", 216, True),
        ("Si", 166, True),
        ("Si", 225, False),  # as many operations in one cell, and others
        ("NaCl", 216, True),
        ("NaCl", 227, False),
        ("CsCl", 123, True),
        ("CsCl", 47, True),
        ("CsCl", 216, False),  # fewer operations, but of a face-centred lattice
        ("CsCl", 194, False),
        ("CsCl", 175, False),
        ("SrTiO3", 166, True),
        ("SrTiO3", 62, False),
        ("SrTiO3", 1, True),
    ],
)
def test_a_group_is_there_with_its_own_operations(crystal, number, yes):
    found = satisfied(toy(crystal), Constraints(space_group=number))
    assert found.tolist() == [yes]


def test_positions_are_looked_at():
    diamond, salt = toy("Si"), toy("NaCl")
    asks = lambda n, *w: Constraints(space_group=n, wyckoff=w)
    assert not satisfied(diamond, asks(227, "a:Mg", "d:Al", "e:O"))
    assert satisfied(diamond, asks(227, "a:Si")) and satisfied(diamond, asks(227, "b:Si"))
    assert not satisfied(diamond, asks(227, "c:Si")) and not satisfied(diamond, asks(227, "a:C"))
    assert satisfied(salt, asks(225, "a:Na", "b:Cl")) and satisfied(salt, asks(225, "a:Cl", "b:Na"))
    assert satisfied(salt, asks(216, "a:Cl", "b:Na")) and satisfied(salt, asks(216, "c:Cl", "d:Na"))
    assert not satisfied(salt, asks(216, "a:Na", "c:Cl"))
    assert satisfied(diamond, asks(216, "a:Si", "c:Si")) and not satisfied(diamond, asks(216, "a:Si", "b:Si"))


def test_positions_in_a_supergroup():
    "Tetragonal positions of a cubic crystal: which of them are alike depends on the axis that is taken."
    perovskite = toy("SrTiO3")
    asks = lambda *w: Constraints(space_group=123, wyckoff=w)
    assert satisfied(perovskite, asks("a:Ti", "d:Sr", "b:O", "f:O"))
    assert satisfied(perovskite, asks("a:Sr", "d:Ti", "c:O", "e:O"))
    assert satisfied(perovskite, asks("d:Sr", "a:Ti", "f:O", "b:O"))
    assert not satisfied(perovskite, asks("a:Sr", "d:Ti", "b:O", "e:O"))
    assert not satisfied(perovskite, asks("a:Sr", "c:Ti", "d:O", "e:O"))


@pytest.mark.parametrize(
    "number, wyckoff, other", [(123, "a:Cs c:Cl", "a:Cs b:Cl"), (47, "a:Cs h:Cl", "a:Cs b:Cl")]
)
def test_positions_of_one_size_differ(number, wyckoff, other):
    "Two atoms on an axis, and two on a diagonal: of these the positions differ, and not their sizes."
    asks = lambda w: Constraints(space_group=number, wyckoff=tuple(w.split()))
    c = asks(wyckoff)
    place = place_orbits(number, [(w[0], SYMBOLS.index(w[2:])) for w in c.wyckoff])
    lengths, angles = torch.tensor([[3.9, 4.4, 5.1]]), torch.full((1, 3), 90.0)
    lengths, angles = place[0].project_lattice(lengths, angles)
    coords = place[0].start(torch.zeros(2, 3))
    crystal = CrystalBatch(place[1], coords, lengths, angles, torch.tensor([2]))
    assert satisfied(crystal, c) and not satisfied(crystal, asks(other))


@pytest.mark.parametrize("number", (2, 12, 29, 62, 88, 139, 152, 166, 194, 198, 216, 227))
def test_positions_do_not_depend_on_the_description(number):
    "Other axes, another origin, another order and a doubled cell: the crystal obeys, a changed one does not."
    positions, generator = space_group(number).positions, torch.Generator().manual_seed(number)
    letters = [positions[0].letter, positions[-1].letter, positions[-1].letter]
    sites = list(zip(letters, (11, 8, 9)))
    symmetry, Z = place_orbits(number, sites)
    u = torch.rand(len(Z), 3, generator=generator, dtype=torch.float64)
    x = symmetry.start(u)
    L = lattice_from_parameters(
        *symmetry.project_lattice(
            torch.tensor([[9.0, 9.7, 10.9]]).double(), torch.tensor([[84.0, 79.0, 88.0]]).double()
        )
    )[0]
    M = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 1]]).double()  # new vectors as rows
    order = torch.randperm(len(Z), generator=generator)
    moved = wrap((x @ torch.linalg.inv(M) + torch.tensor([0.137, 0.611, 0.284]))[order])
    twice = torch.cat([moved, moved + torch.tensor([0, 0, 1.0])]) / torch.tensor([1, 1, 2.0])
    wanted = Constraints(space_group=number, wyckoff=[f"{a}:{SYMBOLS[z]}" for a, z in sites])
    less = Constraints(space_group=number, wyckoff=wanted.wyckoff[:2])
    double = torch.tensor([1, 1, 2.0])[:, None] * (M @ L)
    for lattice, frac, z in ((L, x, Z), (M @ L, moved, Z[order]), (double, twice, Z[order].repeat(2))):
        lengths, angles = parameters_from_lattice(lattice[None])
        crystal = CrystalBatch(z, frac.float(), lengths.float(), angles.float(), torch.tensor([len(z)]))
        assert satisfied(crystal, wanted)
        assert not satisfied(crystal, less)


def test_relabellings_are_those_of_the_affine_normaliser():
    names = lambda number: [p.letter for p in space_group(number).positions]
    places = lambda n, k: {"".join(names(n)[i] for i in p[:k]) for p in relabellings(n)}
    assert places(225, 2) == {"ab", "ba"} and places(221, 4) == {"abcd", "badc"}
    assert places(227, 4) == {"abcd", "badc"} and places(194, 4) == {"abcd", "abdc"}
    assert places(216, 4) == {"abcd", "badc", "cdba", "dcab", "abdc", "bacd", "cdab", "dcba"}
    assert len(places(2, 8)) == 8 * 168 and places(1, 1) == {"a"}
    assert len(places(47, 8)) == 8 * 6  # shifts by half an axis, and permutations of the axes


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
        (dict(reduced_formula="TiO2", fixed_sites=[("Ba", 0, 0, 0)]), "not in TiO2"),
        (dict(reduced_formula="TiO2", num_atoms=3, fixed_sites=TWO_TITANIUM), "holds all fixed sites"),
        (dict(formula="SrTiO3", fixed_sites=TWO_TITANIUM), "more sites of Ti than atoms in SrTiO3"),
        (dict(formula="SrTiO3", fixed_sites=[("Ba", 0, 0, 0)]), "more sites of Ba than atoms in SrTiO3"),
        (dict(symmetry="draw", cell=(4, 4, 4, 90, 90, 90)), "cell cannot be joined with symmetry 'draw'"),
        (dict(space_group=221, cell=(4, 4, 5, 90, 90, 90)), "is strained by"),
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
