"The periodic matcher: against pymatgen's, in every description of a crystal, and by hand."

import math
import sys
from functools import lru_cache
from itertools import permutations

import numpy as np
import pytest
from modules import group
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from scipy.optimize import linear_sum_assignment

from dpcdvae.evaluation.compare import match_crystals
from dpcdvae.evaluation.summary import summarise_matches

m = group("matching")
pytestmark = pytest.mark.filterwarnings("ignore")


def perovskite(a="Sr", b="Ti", length=3.9):
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(length), [a, b, "O", "O", "O"], places)


def low(num=6, seed=0, species=("Ca", "Si", "O", "O", "O", "C"), box=(4.1, 5.3, 6.2, 78, 84, 97)):
    "A crystal without symmetry."
    rng = np.random.default_rng(seed)
    return Structure(Lattice.from_parameters(*box), species[:num], rng.random((num, 3)))


def pushed(structure, atom, by):
    "Move one atom by some Å along x."
    new = structure.copy()
    new.translate_sites([atom], [by, 0, 0], frac_coords=False)
    return new


def pair(a, b, tolerances=m.FIELD, **kw):
    "Match two structures in one direction."
    return m.match_pairs(m.reduce_crystals([a]), m.reduce_crystals([b]), [0], [0], tolerances, **kw)


def theirs(a, b, tolerances=m.FIELD):
    matcher = StructureMatcher(ltol=tolerances.ltol, stol=tolerances.stol, angle_tol=tolerances.angle_tol)
    found = matcher.get_rms_dist(a, b)
    return (math.inf if found is None else found[0]), matcher.fit(a, b)


# -- the same crystal in other words
# ----------------------------------------------------------------------------------
def disguises():
    crystal, rng = low(), np.random.default_rng(1)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(crystal))
    return {
        "another cell": crystal * [[1, 1, 0], [0, 1, 0], [-2, 1, 1]],
        "left-handed cell": crystal * [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
        "supercell": crystal * [[2, 1, 0], [0, 1, 0], [0, 0, 1]],
        "another origin": crystal.copy().translate_sites(range(6), [0.31, 0.77, 0.12]),
        "another order": Structure.from_sites([crystal[i] for i in order]),
        "rotated": Structure(crystal.lattice.matrix @ turn, crystal.species, crystal.frac_coords),
        "mirrored": Structure(
            crystal.lattice.matrix @ np.diag([1, 1, -1]), crystal.species, crystal.frac_coords
        ),
        "larger": Structure(crystal.lattice.matrix * 1.3, crystal.species, crystal.frac_coords),
        "outside the cell": Structure(
            crystal.lattice, crystal.species, crystal.frac_coords + rng.integers(-3, 4, (6, 3))
        ),
    }


@pytest.mark.parametrize("name", list(disguises()))
def test_a_description_does_not_matter(name):
    found = pair(disguises()[name], low())
    assert found.rms[0] < 1e-6 and found.max_dist[0] < 1e-6
    far = pair(pushed(disguises()[name], 0, 0.5), pushed(low(), 0, 0.0))
    if name not in ("supercell", "another order"):
        assert far.rms[0] == pytest.approx(
            0.5 * math.sqrt(5) / 6 / (disguises()[name].volume / 6) ** (1 / 3), rel=1e-6
        )


def test_both_directions_agree():
    crystals = [low(seed=s, num=4, species=("C",) * 4, box=(3, 3.5, 4, 70 + 5 * s, 85, 92)) for s in range(8)]
    r, i, j = m.reduce_crystals(crystals), *np.divmod(np.arange(64), 8)
    one, other = m.match_pairs(r, r, i, j, symmetric=True), m.match_pairs(r, r, j, i, symmetric=True)
    np.testing.assert_allclose(one.rms, other.rms, atol=1e-9)
    np.testing.assert_allclose(one.max_dist, other.max_dist, atol=1e-9)
    single = m.match_pairs(r, r, i, j)
    assert (one.rms <= single.rms + 1e-12).all()


def test_pairs_do_not_depend_on_their_company():
    "One at a time, in small chunks and all at once."
    crystals = (
        [perovskite().perturb(0.2, seed=s) for s in range(5)] + [low(seed=s) for s in range(3)] + [low(4)]
    )
    r, i, j = m.reduce_crystals(crystals), *np.divmod(np.arange(81), 9)
    whole = m.match_pairs(r, r, i, j)
    parts = m.match_pairs(r, r, i, j, chunk=3, block=40)
    alone = [pair(crystals[x], crystals[y]).rms[0] for x, y in zip(i, j)]
    np.testing.assert_allclose(whole.rms, parts.rms, atol=1e-9)
    np.testing.assert_allclose(whole.rms, alone, atol=1e-9)


def test_tolerances_are_the_fields_and_pymatgens():
    default = StructureMatcher()
    assert m.FIELD == (0.5, 0.3, 10.0) and m.STRICT_STOL == 0.1
    assert m.PYMATGEN == (default.stol, default.ltol, default.angle_tol)


# -- by hand
# ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by", [0.1, 0.5, 0.9])
def test_one_atom_moved(by):
    """One of five by d: the best translation takes d/5 from all.

    RMS 2d/5, largest 4d/5, in units of (V/n)^(1/3)."""
    found, unit = pair(pushed(perovskite(), 1, by), perovskite()), (3.9**3 / 5) ** (1 / 3)
    assert found.rms[0] == pytest.approx(2 * by / 5 / unit, rel=1e-9)
    assert found.max_dist[0] == pytest.approx(4 * by / 5 / unit, rel=1e-9)


@pytest.mark.parametrize("share,fits", [(0.299, True), (0.301, False)])
def test_fit_ends_at_the_largest_displacement(share, fits):
    "Two atoms, one moved by 2d: both are d off."
    cell = Structure(Lattice.cubic(4), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found = pair(pushed(cell, 1, 2 * share * (64 / 2) ** (1 / 3)), cell)
    assert bool(found.fits(0.3)[0]) is bool(found.matched(0.3)[0]) is fits and found.fits(0.5)[0]


def test_the_root_mean_square_hides_what_the_largest_shows():
    found = pair(pushed(perovskite(), 1, 1.5), perovskite())
    assert found.matched(0.5)[0] and not found.fits(0.5)[0]


@pytest.mark.parametrize(
    "change,inside,outside",
    [
        (
            lambda x: (4, 4, 4 * x, 90, 90, 90),
            1.45,
            1.50,
        ),  # longest over 4 (1.3): after scaling to one volume
        (lambda x: (4, 4, 4, 90, 90, 90 - x), 9.9, 10.1),
    ],
    ids=["length", "angle"],
)
def test_lattice_tolerances_end_where_they_say(change, inside, outside):
    "Equal volumes: a cell longer by x has c = 4 x^(2/3), and 1.3^(3/2) = 1.482."
    cell = lambda p: Structure(Lattice.from_parameters(*p), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cubic = cell((4, 4, 4, 90, 90, 90))
    assert [pair(cell(change(x)), cubic).num_mappings[0] > 0 for x in (inside, outside)] == [True, False]
    assert pair(cell(change(inside)), cubic).rms[0] < 1e-6 and not np.isfinite(
        pair(cell(change(outside)), cubic).rms[0]
    )


@pytest.mark.parametrize(
    "lattice,order",
    [
        (Lattice.cubic(4), 48),
        (Lattice([[0, 2, 2], [2, 0, 2], [2, 2, 0]]), 48),
        (Lattice.hexagonal(3, 5), 24),
        (Lattice.tetragonal(3, 5), 16),
        (Lattice.orthorhombic(3, 4, 5), 8),
        (Lattice.from_parameters(4, 5, 6, 70, 80, 85), 2),
    ],
)
def test_mappings_of_a_lattice_onto_itself_are_its_point_group(lattice, order):
    cell = m.niggli_transform(lattice.matrix[None]) @ lattice.matrix
    _, matrix = m.lattice_mappings(cell, cell, 0.01, 0.5)
    whole = {tuple(x.ravel().astype(int)) for x in np.concatenate([matrix, -matrix])}
    assert len(whole) == 2 * len(matrix) == order


def test_assignment_is_the_cheapest():
    cost = np.random.default_rng(0).random((5, 5, 40)).astype(np.float32)
    choice = m._assign(cost)
    best = np.min([cost[np.arange(5), list(p)].sum(0) for p in permutations(range(5))], 0)
    np.testing.assert_allclose(cost[np.arange(5)[:, None], choice, np.arange(40)].sum(0), best, rtol=1e-6)


# -- matches as pymatgen finds them
# ----------------------------------------------------------------------------------------------
def cases(num=60):
    rng, out = np.random.default_rng(3), []
    for k in range(num):
        base = low(int(rng.integers(1, 7)), k, ("C", "C", "O", "C", "Si", "O") if k % 2 else ("C",) * 6)
        scale = np.eye(3) + rng.normal(0, 0.06, (3, 3))
        coords = base.frac_coords + rng.normal(0, rng.choice([0.01, 0.05, 0.15]), (len(base), 3))
        out.append((Structure(base.lattice.matrix @ scale, base.species, coords), base))
    return out


@lru_cache
def answers(tolerances):
    "Ask pymatgen about all cases, once for both engines."
    return [theirs(x, y, tolerances) for x, y in cases()]


@pytest.mark.parametrize("compiled", [False, True], ids=["arrays", "compiled"])
@pytest.mark.parametrize(
    "tolerances", [m.FIELD, m.PYMATGEN, m.Tolerances(0.1)], ids=["field", "default", "strict"]
)
def test_verdicts_are_pymatgens(tolerances, compiled):
    pairs = cases()
    a, b = (m.reduce_crystals(x) for x in zip(*pairs))
    found = m.match_pairs(a, b, range(len(pairs)), range(len(pairs)), tolerances, compiled=compiled)
    rms, fit = zip(*answers(tolerances))
    assert found.fits(tolerances.stol).tolist() == [bool(f) for f in fit] and 5 < sum(fit) < 55
    assert np.isfinite(found.rms).tolist() == np.isfinite(rms).tolist()
    both = np.isfinite(rms)
    np.testing.assert_allclose(found.rms[both], np.array(rms)[both], atol=1e-6)


def crowd():
    "Crystals of one to twelve atoms, symmetric and not, alike and not, flat and skewed cells among them."
    rng, out = np.random.default_rng(5), [perovskite(), perovskite().perturb(0.3, seed=1)]
    out += [
        perovskite() * [1, 1, 2],
        Structure(Lattice.hexagonal(3, 5), ["C"] * 2, [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]),
    ]
    out += [low(4, s, ("C", "C", "C", "O"), (3, 3.3, 3.7, 80, 85, 95)) for s in range(6)]
    for k in range(24):
        num = (1, 2, 3, 4, 6, 12)[k % 6]
        species = rng.permutation(["C"] * num if k < 12 else ["C", "O"] * 6)[:num]
        box = (*rng.uniform(2.5, 6, 3), *rng.uniform(70, 110, 3))
        out += [low(num, k // 2, tuple(sorted(species)), box)]
    return out + [out[-1].copy(), Structure(out[-1].lattice, ["C"] * 12, out[-1].frac_coords)]


@pytest.mark.parametrize("tolerances", [m.FIELD, m.PYMATGEN, m.Tolerances(0.2, 0.6, 25)])
def test_compiled_code_and_arrays_agree(tolerances):
    r, num = m.reduce_crystals(crowd()), len(crowd())
    i, j = np.divmod(np.arange(num**2), num)
    one, two = (m.match_pairs(r, r, i, j, tolerances, compiled=c) for c in (True, False))
    assert one.num_mappings.tolist() == two.num_mappings.tolist() and np.isfinite(two.rms).sum() > num
    assert one.same_composition.tolist() == two.same_composition.tolist()
    np.testing.assert_allclose(one.rms, two.rms, atol=1e-8)
    np.testing.assert_allclose(one.max_dist, two.max_dist, atol=1e-8)
    back = m.match_pairs(r, r, i, j, tolerances, symmetric=True, compiled=True)
    np.testing.assert_allclose(back.rms, np.minimum(one.rms, one.rms.reshape(num, num).T.ravel()), atol=1e-8)


def test_compiled_code_is_loaded_where_it_pays(monkeypatch):
    monkeypatch.delitem(sys.modules, "dpcdvae.evaluation.compiled", raising=False)
    assert [m._use_compiled(n) for n in (0, 999, 1000)] == [False, False, True]
    monkeypatch.setattr(m, "find_spec", lambda name: None)
    assert not m._use_compiled(10**6), "without numba there are the arrays"
    monkeypatch.setitem(sys.modules, "dpcdvae.evaluation.compiled", object())
    assert m._use_compiled(1)


@pytest.mark.parametrize("share, near", [(0.99, True), (1.01, False)])
def test_no_atom_is_paired_beyond_twice_the_tolerance(share, near):
    "The only atom of its species, moved along an edge: the RMS of 0.8 stol would pass."
    other = pushed(perovskite(), 1, share * 2 * m.PYMATGEN.stol * (3.9**3 / 5) ** (1 / 3))
    assert np.isfinite(theirs(other, perovskite(), m.PYMATGEN)[0]) == near
    for c in (False, True):
        assert np.isfinite(pair(other, perovskite(), m.PYMATGEN, compiled=c).rms[0]) == near


def test_compiled_assignment_is_the_cheapest():
    compiled, rng = pytest.importorskip("dpcdvae.evaluation.compiled"), np.random.default_rng(0)
    work, whole, table = np.empty((8, 25)), np.empty((2, 25), int), np.empty((25, 25))
    for m in [2, 3, 5, 8, 13, 24] * 20:
        cost = table[:m, :m]
        cost[:] = rng.random((m, m)) ** 3
        columns, least = cost.argmin(1), cost.min(1)
        assert compiled._assign_rest(cost, columns, least, work[:3, :m], whole[:, :m])
        best = cost[linear_sum_assignment(cost)].sum()
        assert cost[np.arange(m), columns].sum() == pytest.approx(best, abs=1e-12)
    cost = table[:2, :2]
    cost[:] = [[0, np.inf], [1, np.inf]]
    assert not compiled._assign_rest(cost, np.zeros(2, int), cost.min(1), work[:3, :2], whole[:, :2])


HALVES = [  # two crystals of Ni6 O2 F10 (Materials Project)
    [
        (0, 0.763249, 0.002704),
        (0, 0.738648, 0.333885),
        (0, 0.765206, 0.662763),
        (0.5, 0.234794, 0.162763),
        (0.5, 0.236751, 0.502704),
        (0.5, 0.261352, 0.833885),
        (0.5, 0.948496, 0.600692),
        (0, 0.051504, 0.100692),
        (0.5, 0.942597, 0.269384),
        (0.5, 0.948919, 0.93321),
        (0, 0.057403, 0.769384),
        (0, 0.051081, 0.43321),
        (0, 0.441761, 0.230272),
        (0, 0.446646, 0.565159),
        (0, 0.453777, 0.901932),
        (0.5, 0.553354, 0.065159),
        (0.5, 0.546223, 0.401932),
        (0.5, 0.558239, 0.730272),
    ],
    [
        (0, 0, 0),
        (0, 0.009713, 0.331015),
        (0, 0.990287, 0.668985),
        (0.5, 0.486932, 0.170669),
        (0.5, 0.5, 0.5),
        (0.5, 0.513068, 0.829331),
        (0, 0.69874, 0.767102),
        (0, 0.30126, 0.232898),
        (0.5, 0.802205, 0.268694),
        (0.5, 0.804247, 0.599411),
        (0.5, 0.802642, 0.935272),
        (0, 0.695096, 0.103117),
        (0, 0.69875, 0.43261),
        (0, 0.30125, 0.56739),
        (0, 0.304904, 0.896883),
        (0.5, 0.197358, 0.064728),
        (0.5, 0.195753, 0.400589),
        (0.5, 0.197795, 0.731306),
    ],
]


def test_displacements_of_half_a_cell_end_alike():
    "Either image is as near, the mean depends on which is taken, and on the mean the match."
    cells = (3.09386, 4.6957, 14.08703, 90, 90, 90), (3.09224, 4.69518, 14.08967, 88.96556, 90, 90)
    species = ["Ni"] * 6 + ["O"] * 2 + ["F"] * 10
    one, other = (Structure(Lattice.from_parameters(*c), species, x) for c, x in zip(cells, HALVES))
    assert not np.isfinite(theirs(one, other)[0])
    assert not any(np.isfinite(pair(one, other, compiled=c).rms[0]) for c in (False, True))


def test_code_is_compiled_where_nothing_can_be_written(monkeypatch):
    compiled, asked = pytest.importorskip("dpcdvae.evaluation.compiled_lattices"), []

    def njit(**how):
        asked.append(how)
        if "cache" in how:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled.fast(abs) is abs and [sorted(a) for a in asked] == [
        ["cache", "error_model", "nogil"],
        ["error_model", "nogil"],
    ]


def test_atoms_sorted_by_species_are_the_same_atoms():
    mixed = [low(species=("O", "Ca", "O", "C", "O", "Ca")), perovskite("Ba", "Ti")]
    r = m.reduce_crystals(mixed)
    coords, species, start, anchor = r.by_species
    for k in range(2):
        at, rows = slice(start[k], start[k + 1]), slice(r.start[k], r.start[k + 1])
        assert species[at].tolist() == sorted(r.species[rows].tolist())
        ours, given = (
            sorted(zip(s.tolist(), c.tolist()))
            for s, c in ((species[at], coords.T[at]), (r.species[rows], r.frac_coords[rows]))
        )
        assert ours == given
        np.testing.assert_array_equal(coords.T[at][anchor[k]], r.frac_coords[rows][r.anchor[k]])


def test_smaller_tolerances_are_read_from_one_matching():
    pairs = cases(40)
    a, b = (m.reduce_crystals(x) for x in zip(*pairs))
    found = m.match_pairs(a, b, range(40), range(40))
    for stol in (0.3, 0.2, 0.1):
        fit = [theirs(x, y, m.Tolerances(stol))[1] for x, y in pairs]
        assert found.fits(stol).tolist() == [bool(f) for f in fit]


@pytest.mark.parametrize("by", [0.05, 0.2, 0.24, 0.26, 0.4])
@pytest.mark.parametrize("size", [(2, 1, 1), (1, 2, 2), (3, 1, 1)])
def test_primitive_cells_are_pymatgens(by, size):
    cell = pushed(perovskite() * size, 3, by)
    reduced = StructureMatcher._get_reduced_structure(cell)
    ours = m.reduce_crystals([cell])
    assert ours.num_atoms[0] == len(reduced)
    np.testing.assert_allclose(np.linalg.norm(ours.lattice[0], axis=-1), reduced.lattice.abc, atol=1e-6)
    assert pair(cell, reduced).rms[0] < 1e-6


def test_equal_places_of_different_species_are_no_period():
    "B2 and its ordered supercell with one species exchanged in half of the cells."
    cell = Structure(Lattice.cubic(3), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]) * (2, 1, 1)
    for k, name in ((1, "K"), (3, "Br")):
        cell[k] = name
    assert m.reduce_crystals([cell]).num_atoms[0] == len(StructureMatcher._get_reduced_structure(cell)) == 4


@pytest.mark.parametrize("angles", [(60, 60, 60), (75, 80, 65), (100, 110, 95), (90, 90, 120)])
def test_distances_go_through_the_nearest_image(angles):
    lattice, rng = Lattice.from_parameters(3, 3.4, 4, *angles), np.random.default_rng(2)
    a, b = rng.random((2, 12, 3))
    mean = m.mean_lattices(lattice.matrix[None], lattice.matrix[None], 12, 0.5)
    turn = np.linalg.inv(mean.transform[0])
    reach = np.full((3, 1), 0.5)
    difference, _ = m._differences((a @ turn).T[:, :, None], (b @ turn).T[:, :, None], reach, True)
    # all images: the bound of `needed` holds for pairs within reach only
    full = m._square_distances(difference, mean.metric, mean.images, np.ones(13, dtype=bool))
    np.testing.assert_allclose(np.sqrt(full[..., 0]), lattice.get_all_distances(b, a), atol=1e-9)
    near = (abs(difference) <= mean.reach[0][:, None, None, None]).all(0)
    some = m._square_distances(difference, mean.metric, mean.images, mean.needed[0])
    np.testing.assert_allclose(some[near], full[near], atol=1e-9)
    vectors = np.ascontiguousarray(np.moveaxis(difference[..., 0], 0, -1).reshape(1, -1, 3))
    short = m._nearest_image(vectors, mean.metric, mean.images, np.ones(13, dtype=bool))
    np.testing.assert_allclose(
        ((short @ mean.metric) * short).sum(-1).ravel(), full[..., 0].ravel(), atol=1e-9
    )


def bravais(rng):
    "Centred and rhombohedral lattices in odd bases: there LLL's basis is not yet Niggli's."
    centred = [np.ones((3, 3)) / 2 - np.eye(3), (np.ones((3, 3)) - np.eye(3)) / 2]
    boxes = [np.diag(x) for x in ((4, 4, 4), (4, 4, 5.5), (3, 4.5, 5), (3, 3, 9))]
    cells = [c @ b for c in centred for b in boxes]
    cells += [Lattice.rhombohedral(4, x).matrix for x in (38, 59, 61, 88, 92, 108, 112)]
    cells += [
        Lattice.from_parameters(4, 5, 6, *x).matrix for x in ((112, 118, 100), (60, 62, 70), (90, 119, 90))
    ]
    for _ in range(2):
        for i, j in ((0, 1), (1, 2), (2, 0)):
            cells = [c + np.outer(np.eye(3)[i], rng.integers(-2, 3) * c[j]) for c in cells]
    return cells


def test_niggli_and_lll_are_pymatgens():
    rng = np.random.default_rng(5)
    lattices = [x for x in rng.normal(0, 3, (40, 3, 3)) + 2 * np.eye(3) if abs(np.linalg.det(x)) > 3]
    lattices = np.array(lattices + bravais(rng))
    cases = {m.niggli_transform: "get_niggli_reduced_lattice", m.lll_transform: "get_lll_reduced_lattice"}
    for transform, reduced in cases.items():
        turn = transform(lattices)
        np.testing.assert_allclose(turn, np.rint(turn), atol=1e-9)
        np.testing.assert_allclose(abs(np.linalg.det(turn)), 1, atol=1e-9)
        cells = [getattr(Lattice(x), reduced)() for x in lattices]
        ours = turn @ lattices
        np.testing.assert_allclose(np.linalg.norm(ours, axis=-1), [c.abc for c in cells], rtol=1e-4)
        bent = np.sort(abs(m._angles(ours) - 90), -1)  # pymatgen may give the supplements
        np.testing.assert_allclose(
            bent, np.sort(abs(np.array([c.angles for c in cells]) - 90), -1), atol=0.02
        )
    assert (np.linalg.det(m.niggli_transform(lattices) @ lattices) > 0).all()


# -- rows, reasons, chance
# --------------------------------------------------------------------------------------------
def test_cells_that_reduction_splits_are_matched_as_given():
    whole = Structure(Lattice.cubic(3), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]) * (2, 1, 1)
    for a, b in ((whole, pushed(whole, 0, 0.26)), (pushed(whole, 0, 0.26), whole)):
        rows = m.match_rows([a, a], [b, a])
        assert rows.given_cells.tolist() == [True, False] and rows.reasons == [m.ONLY_GIVEN, ""]
        assert np.isfinite(rows.field_rms).tolist() == [False, True]
        assert rows.matches.rms[0] == pytest.approx(0.26 * math.sqrt(3) / 4 / (54 / 4) ** (1 / 3))
    assert (
        StructureMatcher(stol=0.5, ltol=0.3, angle_tol=10).get_rms_dist(*[whole, pushed(whole, 0, 0.26)])
        is None
    )


def test_the_fields_rms_has_a_direction():
    "Both directions as pymatgen finds them, the better of both where the order must not matter."
    crystals = [low(seed=s, num=4, species=("C",) * 4, box=(3, 3.5, 4, 70 + 4 * s, 85, 92)) for s in range(9)]
    a, b = zip(*[(x, y) for x in crystals for y in crystals])
    rows, back = m.match_rows(a, b), m.match_rows(b, a)
    direct = np.array([theirs(x, y)[0] for x, y in zip(a, b)])
    np.testing.assert_allclose(rows.field_rms, direct, atol=1e-6)
    np.testing.assert_allclose(rows.matches.rms, np.minimum(rows.field_rms, back.field_rms), atol=1e-9)
    one_way = np.isfinite(rows.matches.rms) & ~np.isfinite(rows.field_rms)
    assert [r == m.ONLY_BACK for r in rows.reasons] == one_way.tolist()


def test_reasons_are_the_true_ones():
    flat = Structure(Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 1e-7]]), ["Na"], [[0, 0, 0]])
    long = Structure(Lattice.orthorhombic(3.9, 3.9, 9), perovskite().species, perovskite().frac_coords)
    preds = [flat, perovskite("Ba"), low(4), long, pushed(perovskite(), 0, 1.5), perovskite() * (2, 1, 1)]
    rows = m.match_rows(preds, [perovskite()] * 6, m.Tolerances(0.2))
    assert rows.reasons == [m.REASONS[0], m.REASONS[2], m.REASONS[1], m.REASONS[3], m.REASONS[4], ""]


def test_species_may_be_ignored():
    swapped = perovskite("Ti", "Sr")
    assert m.match_rows([swapped], [perovskite()]).reasons == ["atoms out of place"]
    assert m.match_rows([swapped], [perovskite()], species=False).matches.rms[0] < 1e-6


def test_numbers_that_are_none_match_nothing():
    broken = Structure(Lattice.cubic(3), ["C", "C"], [[0, 0, 0], [np.nan, 0, 0]])
    assert m.reduce_crystals([broken]).composition.tolist() == [-1]
    assert m.match_rows([broken], [low()]).reasons == ["cell without volume"]
    with pytest.raises(ValueError, match="disordered sites"):
        m.reduce_crystals([Structure(Lattice.cubic(3), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])])
    with pytest.raises(ValueError, match="one of each"):
        m.match_rows([low()], [low(), low()])
    assert len(m.reduce_crystals([])) == 0 and m.match_rows([], []).reasons == []


def test_one_atom_and_batches_of_one():
    iron = Structure(
        Lattice([[-1.4, 1.4, 1.4], [1.4, -1.4, 1.4], [1.4, 1.4, -1.4]]), ["Fe"], [[0.2, 0.3, 0.4]]
    )
    assert m.match(iron, iron * (2, 2, 1)) == pytest.approx(0, abs=1e-7)


def test_chance_is_seeded_and_of_the_same_cells():
    truths = [perovskite(), low()] * 30
    one, two, other = (m.random_placement(truths, s) for s in (0, 0, 1))
    assert all((a.frac_coords == b.frac_coords).all() for a, b in zip(one, two))
    assert (
        not (one[0].frac_coords == other[0].frac_coords).any()
        and not (one[0].frac_coords == one[2].frac_coords).any()
    )
    assert all(a.lattice == t.lattice and a.species == t.species for a, t in zip(one, truths))
    assert min(x.distance_matrix[np.triu_indices(len(x), 1)].min() for x in one) >= 0.5


def test_rates_and_chance_in_a_summary():
    truths = [perovskite()] * 40
    rows = [dict() for _ in truths]
    match_crystals(rows, [perovskite().perturb(0.1, seed=s) for s in range(39)] + [perovskite("Ba")], truths)
    s = {k: v["value"] for k, v in summarise_matches(rows).items()}
    assert s["strict_rate"] == s["fit_rate_0.1"] == s["match_rate"] == 39 / 40
    assert s["strict_chance"] == s["fit_chance_0.1"] < s["match_chance"] and s["match_chance"] > 0.05
    assert s["strict_above_chance"] == pytest.approx(39 / 40 - s["strict_chance"])
    assert s["match_above_chance"] == pytest.approx(39 / 40 - s["match_chance"])
    assert s["fit_chance_0.5"] >= s["fit_chance_0.3"] >= s["fit_chance_0.2"] >= s["fit_chance_0.1"]


# -- all against all
# --------------------------------------------------------------------------------------------------
def herd(num=40):
    rng = np.random.default_rng(7)
    make = [
        perovskite,
        lambda: perovskite("Ba"),
        lambda: low(3, 1),
        lambda: low(3, 2),
        lambda: perovskite() * (1, 1, 2),
    ]
    return [make[rng.integers(5)]().perturb(float(rng.choice([0.02, 0.3])), seed=k) for k in range(num)]


def test_first_matches_are_the_brute_force_ones():
    crystals, known = herd(), herd(55)[40:]
    fit = lambda a, b: StructureMatcher().fit(a, b) or StructureMatcher().fit(b, a)
    search = lambda s, others: next((k for k, o in enumerate(others) if fit(s, o)), -1)
    reduced = m.reduce_crystals(crystals)
    assert m.first_matches(reduced).tolist() == [search(s, crystals[:i]) for i, s in enumerate(crystals)]
    direct = [search(s, known) for s in crystals]
    for most in (5, 200_000):
        assert m.first_matches(reduced, m.reduce_crystals(known), most=most).tolist() == direct


def test_best_matches_are_the_brute_force_ones():
    truth, made = herd(12), herd(26)[12:]
    rms, best, num = m.best_matches(m.reduce_crystals(truth), m.reduce_crystals(made))
    table = np.array([[theirs(c, t)[0] for c in made] for t in truth])
    np.testing.assert_allclose(rms, table.min(1), atol=1e-6)
    found = best >= 0
    np.testing.assert_allclose(table[np.flatnonzero(found), best[found]], rms[found], atol=1e-6)
    assert num == sum(
        len(i) for i, _ in m.composition_pairs(m.reduce_crystals(truth), m.reduce_crystals(made), most=7)
    )


# -- what changing a tolerance or a sign would change
ONE_WAY = [[7.16, -0.28, 1.58], [-1.12, 3.68, 0.62], [-0.85, 0.09, 3.73]]  # Å: these map onto each other
OTHER_WAY = [[8.76, 0.04, 1.08], [-1.94, 3.02, 0.91], [-1.65, 0.06, 4.4]]  # from one side only
NARROW = [
    [2.23, 0.24, 0.26],
    [0.42, 2.29, -0.4],
    [-0.26, -0.7, 4.04],
]  # and these, with pymatgen's tolerances
NARROWER = [[2.23, 0.22, 0.29], [0.54, 2.43, -0.45], [-0.08, -0.69, 5.05]]


def one_atom(lattice):
    return Structure(Lattice(lattice), ["C"], [[0, 0, 0]])


def test_no_displacement_is_given_beyond_the_tolerance():
    crystal = low()
    apart = pair(crystal, pushed(crystal, 0, 1.3), m.Tolerances(0.3, 0.3, 10.0))
    assert np.isfinite(apart.rms[0]) and np.isinf(apart.max_dist[0])


def test_mappings_are_counted_with_their_opposites():
    cube = Structure(Lattice.cubic(3), ["Po"], [[0, 0, 0]])
    assert pair(cube, cube).num_mappings[0] == 48


def loosened():
    "A supercell and the same with one atom moved so far that the largest displacement is beyond 0.5."
    cell = Structure(Lattice.cubic(2.5), ["Po"], [[0, 0, 0]]) * 2
    return cell, pushed(cell, 0, 0.6 * 2.5)


def test_a_match_in_the_given_cells_is_named_after_the_root_mean_square():
    cell, moved = loosened()
    found = m.match_rows([moved], [cell])
    assert found.given_cells[0] and found.matches.rms[0] < 0.5 and not found.matches.fits()[0]
    assert np.isinf(found.field_rms[0]) and found.reasons == [m.ONLY_GIVEN]


def test_the_fields_rate_counts_no_match_in_the_given_cells():
    cell = Structure(Lattice.cubic(2.5), ["Po"], [[0, 0, 0]]) * 2
    rates = m.match_rates(m.match_rows([pushed(cell, 0, 0.6)], [cell]))
    assert (rates["field"], rates["fit_0.5"], rates["fit_0.1"]) == (0, 1, 0)


def test_a_repeat_is_decided_by_the_largest_displacement():
    crystal = perovskite()
    moved = pushed(crystal, 2, 0.45 * 3.9 / 5 ** (1 / 3))
    found = pair(crystal, moved, m.PYMATGEN, symmetric=True)
    assert found.rms[0] < 0.3 and not found.fits(0.3)[0]
    assert m.first_matches(m.reduce_crystals([crystal, moved])).tolist() == [-1, -1]
    near = pushed(crystal, 2, 0.3 * 3.9 / 5 ** (1 / 3))
    assert m.first_matches(m.reduce_crystals([crystal, near])).tolist() == [-1, 0]


@pytest.mark.parametrize("first, second", [(NARROW, NARROWER), (NARROWER, NARROW)])
def test_a_repeat_is_looked_for_from_both_sides(first, second):
    a, b = one_atom(first), one_atom(second)
    ways = [np.isfinite(pair(x, y, m.PYMATGEN).rms[0]) for x, y in ((a, b), (b, a))]
    assert sorted(ways) == [False, True]
    assert m.first_matches(m.reduce_crystals([a, b])).tolist() == [-1, 0]


def test_given_cells_are_compared_from_both_sides():
    whole = Structure(Lattice(ONE_WAY), ["C", "C"], [[0, 0, 0], [0.5, 0, 0]])
    broken = Structure(Lattice(OTHER_WAY), ["C", "C"], [[0, 0, 0], [0.5, 0.12, 0]])
    cells = [m.reduce_crystals([s], primitive=False) for s in (whole, broken)]
    ways = [np.isfinite(m.match_pairs(a, b, [0], [0]).rms[0]) for a, b in (cells, cells[::-1])]
    assert sorted(ways) == [False, True]
    found = [m.match_rows([a], [b]) for a, b in ((whole, broken), (broken, whole))]
    assert all(w.given_cells[0] and np.isfinite(w.matches.rms[0]) for w in found)


@pytest.mark.parametrize("times, usable", [(200, True), (30_000, False)])
def test_how_flat_a_cell_may_be_described(times, usable):
    cube = Structure(Lattice([[3, 0, 0], [3 * times, 3, 0], [0, 0, 3]]), ["Po"], [[0, 0, 0]])
    assert (m.reduce_crystals([cube]).composition[0] >= 0) == usable


def test_a_displacement_as_large_as_the_tolerance_is_no_match():
    edge = np.array([0.3, np.nextafter(0.3, 0)])
    found = m.Matches(edge, edge, np.ones(2, int), np.ones(2, bool))
    assert found.matched(0.3).tolist() == found.fits(0.3).tolist() == [False, True]


def test_a_basis_of_a_sublattice_is_no_mapping():
    "The conventional cell of a body-centred lattice looks like a simple cubic one and holds two points."
    centred = (np.ones((3, 3)) / 2 - np.eye(3)) * 2 ** (1 / 3)
    _, matrix = m.lattice_mappings(centred[None], np.eye(3)[None], 0.3, 10.0)
    assert not (abs(np.linalg.det(matrix)).round() != 1).any()


def test_an_angle_below_the_tolerance_may_shrink_to_nothing():
    narrow = lambda angle, c: np.array([[1, 0, 0], [np.cos(angle), np.sin(angle), 0], [0, 0, c]])
    wide, thin = np.radians([5, 4])
    first, second = narrow(thin, np.sin(wide) / np.sin(thin)), narrow(wide, 1)
    _, matrix = m.lattice_mappings(first[None], second[None], 0.3, 10.0)
    assert any((x == np.eye(3)).all() for x in [*matrix, *-matrix])


def test_each_length_is_compared_with_its_own_axis():
    "The second axis would shrink to 0.73 of its length: below 1 / 1.3, and longer than the first axis."
    second = np.diag([0.7, 1, 1 / 0.7])
    first = second @ np.diag([1 / 0.73**0.5, 0.73, 1 / 0.73**0.5])
    _, matrix = m.lattice_mappings(first[None], second[None], 0.3, 10.0)
    assert len(matrix) and not any((abs(x) == np.eye(3)).all() for x in matrix)


def test_the_fields_match_is_decided_by_the_root_mean_square():
    crystal, rows = low(), [{}]
    match_crystals(rows, [pushed(crystal, 0, 2.0)], [crystal], chance=False)
    assert rows[0]["matched"] and rows[0]["rms"] < 0.5 and not rows[0]["fit_0.5"]


@pytest.mark.parametrize("gap, num_atoms", [(0.45, 2), (0.55, 1)])
def test_neighbours_in_a_very_short_cell_are_no_period(gap, num_atoms):
    "Within twice the tolerance along every axis two atoms count as neighbours, not as one atom repeated."
    chain = Structure(Lattice.orthorhombic(2 * gap, 3, 4), ["C", "C"], [[0, 0, 0], [0.5, 0, 0]])
    assert len(chain.get_primitive_structure()) == num_atoms
    assert m.reduce_crystals([chain]).num_atoms.tolist() == [num_atoms]
