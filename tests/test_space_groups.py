"Space groups, Wyckoff positions and the projection, against spglib and against their own definitions."

import json
from importlib.resources import files

import pytest
import spglib
import torch

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.crystal.lattice import lattice_from_parameters, minimum_image, wrap
from dpcdvae.crystal.symmetry import Symmetry, cell_choices, find_symmetry, metric_strain, place_orbits
from dpcdvae.crystal.wyckoff import invariant_metric, space_group

SAMPLE = (1, 2, 4, 14, 43, 47, 62, 88, 122, 146, 167, 181, 194, 203, 227)
TABLE = json.loads((files("dpcdvae") / "static" / "wyckoff_sites.json").read_text())
EYE = torch.eye(3, dtype=torch.float64)


def started(number, sites, choice=0, seed=0):
    "A symmetric start state in a cell that obeys the group: spglib's cell, and the symmetry."
    symmetry, Z = place_orbits(number, sites, choice)
    u = torch.rand(len(Z), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = symmetry.start(u)
    lengths, angles = symmetry.project_lattice(
        torch.tensor([[9.0, 9.7, 10.9]]).double(), torch.tensor([[84.0, 79.0, 88.0]]).double()
    )
    return symmetry, x, (lattice_from_parameters(lengths, angles)[0].numpy(), x.numpy(), Z.numpy())


def test_table_of_all_groups():
    "1,731 positions in 230 groups; the general one has as many atoms as the group has operations."
    assert sum(len(size) for size, _ in TABLE.values()) == 1731
    assert len(TABLE) == 230
    for size, free in TABLE.values():
        assert size == sorted(size) and free[-1] == 1
        assert all(size[-1] % n == 0 for n in size)


@pytest.mark.parametrize("number", SAMPLE)
def test_positions_are_those_of_spglib(number):
    group = space_group(number)
    assert TABLE[str(number)] == [
        [p.num_sites for p in group.positions],
        [int(p.num_free > 0) for p in group.positions],
    ]
    general = group.positions[-1].letter
    for k, p in enumerate(group.positions[:4]):
        sites = [(general, 3), (general, 5), (general, 7), (p.letter, 8)]
        _, _, cell = started(number, sites, seed=k)
        d = spglib.get_symmetry_dataset(cell, symprec=1e-4)
        assert d.number == number
        inside = [i for i, z in enumerate(cell[2]) if z == 8]
        assert len(inside) == p.num_sites
        assert (d.std_types == 8).sum() == p.multiplicity
        axes = sorted(p.site_symmetry)  # spglib may name the axes of an orthorhombic cell in another order
        assert all(sorted(d.site_symmetry_symbols[i]) == axes for i in inside)


@pytest.mark.parametrize("number", SAMPLE)
def test_projection_is_idempotent_and_keeps_what_is_symmetric(number):
    letters = [p.letter for p in space_group(number).positions]
    symmetry, x, _ = started(number, [(letters[0], 3), (letters[-1], 8)])
    assert (minimum_image(symmetry.project_coords(x) - x)).abs().max() < 1e-9
    v = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    once = symmetry.project_vectors(v)
    assert (symmetry.project_vectors(once) - once).abs().max() < 1e-12
    moved = symmetry.project_coords(x + 1e-3 * v)
    assert minimum_image(symmetry.project_coords(moved) - moved).abs().max() < 1e-9
    assert minimum_image(moved - x - 1e-3 * once).abs().max() < 1e-9


def test_p1_is_the_identity():
    symmetry, Z = place_orbits(1, [("a", 3), ("a", 8), ("a", 8)])
    v = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(symmetry.project_vectors(v), v)
    assert torch.equal(symmetry.project_noise(v), v)
    assert (symmetry.project_coords(v) - v).abs().max() == 0
    lengths, angles = torch.tensor([[4.0, 5.0, 6.0]]), torch.tensor([[80.0, 95.0, 101.0]])
    for new, old in zip(symmetry.project_lattice(lengths, angles), (lengths, angles)):
        assert (new - old).abs().max() < 1e-4


def test_noise_keeps_unit_size_where_a_coordinate_is_free():
    "On a general position of P222 (orthogonal axes) each component has variance one; on a fixed one none."
    symmetry, _ = place_orbits(16, [("a", 3), ("u", 8)])
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack(
        [symmetry.project_noise(torch.randn(5, 3, generator=generator).double()) for _ in range(4000)]
    )
    assert draws[:, 0].abs().max() < 1e-12
    assert (draws[:, 1:].var(0) - 1).abs().max() < 0.1


@pytest.mark.parametrize("number", (5, 62, 139, 166, 225))
def test_group_is_the_same_in_every_cell(number):
    "All cells hold the same group: spglib finds it in the first, the last and one in between."
    choices = len(cell_choices(number)[0])
    general = space_group(number).positions[-1].letter
    for choice in {0, choices // 2, choices - 1}:
        symmetry, x, cell = started(number, [(general, 3), (general, 8)], choice)
        if symmetry.num_atoms > 100:
            continue
        assert spglib.get_symmetry_dataset(cell, symprec=1e-4).number == number


@pytest.mark.parametrize("number", (8, 36, 63, 99, 148, 173, 198, 216))
def test_start_states_have_at_least_the_group(number):
    positions = space_group(number).positions
    free = next(p.letter for p in positions if p.num_free)
    for seed in range(3):
        _, _, cell = started(number, [(free, 3), (positions[-1].letter, 8)], seed=seed)
        d = spglib.get_symmetry_dataset(cell, symprec=1e-4)
        assert d.number == number or len(d.rotations) > len(space_group(number).rotations)


def test_start_is_uniform_along_what_is_free():
    "The free coordinate of a line runs through all of the cell."
    symmetry, _ = place_orbits(99, [("a", 3)])
    u = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.stack([symmetry.start(row[None])[0] for row in u])
    spread = minimum_image(x - x[0]).abs().amax(0)
    axis = int(spread.argmax())  # the fourfold axis of this cell
    assert spread.sort().values[1] < 1e-9
    assert (torch.histc(x[:, axis], 10, 0, 1) - 200).abs().max() < 60


def test_lattice_projection():
    "The average has the symmetry and the volume, and is nearer the less a cell must be strained."
    L = lattice_from_parameters(torch.tensor([[4.0, 4.1, 4.3]]), torch.tensor([[60.0, 61.0, 58.0]])).double()
    metric = (L @ L.transpose(1, 2))[0]
    for number in (2, 166, 225):
        rotations = cell_choices(number)[1]
        new = invariant_metric(metric, rotations)
        turned = rotations.transpose(-1, -2) @ new[:, None] @ rotations
        assert (turned - new[:, None]).abs().max() < 1e-9
        assert (torch.linalg.det(new) - torch.linalg.det(metric)).abs().max() < 1e-6
    strains = [
        float(metric_strain(metric, invariant_metric(metric, cell_choices(n)[1])).min())
        for n in (2, 166, 225)
    ]
    assert strains[0] < 1e-9 < strains[1] < strains[2] < 0.2


def test_found_in_known_crystals_and_batched():
    names = ("Cu", "NaCl", "CsCl", "Si", "SrTiO3")
    crystals = CrystalBatch.cat([toy(name) for name in names])
    symmetry, numbers = find_symmetry(crystals)
    assert numbers == [225, 225, 221, 227, 221]
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(len(crystals.atomic_numbers), 3, generator=generator).double()
    together = symmetry.project_coords(crystals.frac_coords.double() + 0.01 * v)
    for i, part in enumerate(v.split(crystals.num_atoms.tolist())):
        alone, _ = find_symmetry(crystals[i])
        apart = alone.project_coords(crystals[i].frac_coords.double() + 0.01 * part)
        assert (together[crystals.batch == i] - apart).abs().max() < 1e-12
    again = Symmetry.cat(symmetry[torch.tensor([i])] for i in range(5))
    assert torch.equal(again.project_vectors(v), symmetry.project_vectors(v))


def test_a_lost_symmetry_is_refused():
    from dpcdvae.crystal.symmetry import symmetry_of

    R, t = torch.stack([EYE, -EYE]), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="do not have the symmetry"):
        symmetry_of(R, t, torch.tensor([[0.1, 0.2, 0.3], [0.5, 0.6, 0.7]]), torch.tensor([0, 0]))


def test_the_denoiser_keeps_a_symmetric_state_symmetric():
    from dpcdvae import DPCDVAE

    model = DPCDVAE.from_pretrained("mp-20").double()
    symmetry, x, cell = started(194, [("a", 12), ("c", 13), ("f", 8), ("k", 1)], seed=3)
    crystals = CrystalBatch(
        torch.tensor(cell[2]),
        x,
        *symmetry.project_lattice(
            torch.tensor([[5.0, 5.0, 9.0]]).double(), torch.tensor([[90.0, 90.0, 120.0]]).double()
        ),
        torch.tensor([len(x)]),
    )
    z = torch.randn(1, 256, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        pred = model.denoiser(crystals, z, torch.tensor([500])).coords
        free = model.denoiser(
            crystals.replace(frac_coords=wrap(x + 0.05 * torch.rand_like(x))), z, torch.tensor([500])
        ).coords
    assert pred.abs().max() > 1e-3
    assert (pred - symmetry.project_vectors(pred)).abs().max() < 1e-5
    assert (free - symmetry.project_vectors(free)).abs().max() > 1e-3
