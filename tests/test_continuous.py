"""Continuous uniqueness and novelty: distances against the packages that define them, and their symmetries."""

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dpcdvae.evaluation import continuous as C
from dpcdvae.evaluation.reduction import reduce_crystals


def crystal(seed, num=7, volume=14.0):
    "Draw a crystal of several elements in a triclinic cell."
    rng = np.random.default_rng(seed)
    lattice = Lattice(np.diag(rng.uniform(0.8, 1.3, 3)) + rng.normal(0, 0.15, (3, 3)))
    lattice = lattice.scale(volume * num)
    return Structure(lattice, rng.choice(["Na", "Ti", "O", "Cl", "La"], num), rng.random((num, 3)))


CRYSTALS = [crystal(seed, num) for seed, num in enumerate((1, 2, 3, 5, 8, 13, 20))]


def other_description(s):
    "Describe the same crystal by a + 2c, b + 5a, c, turned, with another origin and order."
    matrix = np.array([[1, 0, 2], [5, 1, 10], [0, 0, 1]])
    frame, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    coords = s.frac_coords @ np.linalg.inv(matrix) + 0.37
    return Structure(Lattice(matrix @ s.lattice.matrix @ frame), s.species, coords, to_unit_cell=True)[::-1]


def test_neighbours_are_the_brute_force_ones():
    for s in (CRYSTALS[3], Structure(Lattice.orthorhombic(2, 3, 31), ["C", "C"], [[0, 0, 0], [0, 0, 0.1]])):
        found = C.neighbor_distances(reduce_crystals([s], primitive=False), 40)
        images = np.stack(np.meshgrid(*[np.arange(-k, k + 1) for k in (12, 12, 4)], indexing="ij"), -1)
        cart = (s.frac_coords[:, None] + images.reshape(-1, 3)) @ s.lattice.matrix
        true = np.linalg.norm(cart.reshape(1, -1, 3) - s.cart_coords[:, None], axis=-1)
        true = np.sort(true, -1)[:, 1:41]
        np.testing.assert_allclose(found[np.lexsort(found.T)], true[np.lexsort(true.T)], atol=1e-8)


def test_amd_and_pdd_are_the_packages_on_reduced_cells():
    package = pytest.importorskip("amd", reason="pip install average-minimum-distance")
    ours = C.amd(CRYSTALS)
    for s, mine in zip(CRYSTALS, ours):
        small = s.get_primitive_structure().get_reduced_structure()
        points = package.PeriodicSet(small.cart_coords, small.lattice.matrix)
        np.testing.assert_allclose(mine, package.AMD(points, 100), atol=1e-8)
    sets = [package.PeriodicSet(s.cart_coords, s.lattice.matrix) for s in CRYSTALS[3:5]]
    theirs = package.PDD_cdist([package.PDD(sets[0], 100)], [package.PDD(sets[1], 100)])[0, 0]
    assert C.pdd_distance(*map(C.pdd, CRYSTALS[3:5])) == pytest.approx(theirs, abs=1e-6)


def test_elmd_is_the_packages():
    try:
        from ElMD import elmd
    except ImportError as e:
        pytest.skip(f"pip install ElMD: {e}")
    formulas = [s.composition.reduced_formula for s in CRYSTALS]
    theirs = [[elmd(a, b) for b in formulas] for a in formulas]
    np.testing.assert_allclose(C.elmd(CRYSTALS, CRYSTALS), theirs, atol=1e-6)


def test_the_scale_holds_every_element_once():
    assert len(C.PETTIFOR) == len(set(C.PETTIFOR)) == 103 and C.PETTIFOR[-1] == "H"
    ends = [Structure(Lattice.cubic(3), [e], [[0, 0, 0]]) for e in ("He", "H", "D")]
    assert C.elmd(ends[:1], ends)[0].tolist() == [0, 102, 102]


@pytest.mark.parametrize("k", range(len(CRYSTALS)))
def test_a_description_does_not_matter(k):
    s = CRYSTALS[k]
    known = C.descriptors([s])
    others = [Structure.from_sites(other_description(s)), s * (2, 1, 1), s * (1, 3, 2)]
    found = C.continuous_scores(C.descriptors(others), known)
    assert max(v.max() for v in found.values()) < 1e-6


def test_one_atom_moved_moves_the_distance_by_no_more():
    s = CRYSTALS[4]
    moved = s.copy()
    moved.translate_sites([2], [0, 0, 0.05], frac_coords=False)
    gap = abs(np.subtract(*C.amd([s, moved]))).max()
    assert 0 < gap <= 2 * 0.05
    assert C.pdd_distance(C.pdd(s), C.pdd(moved)) <= 2 * 0.05


def test_scores_are_the_brute_force_ones():
    made, known = C.descriptors(CRYSTALS), C.descriptors([crystal(seed) for seed in range(20, 31)])
    far = abs(made.amd[:, None] - known.amd[None]).max(-1)
    work = abs(made.shares[:, None] - known.shares[None]).sum(-1)
    blend = 0.7763468728635282 * work / (1 + work) + 0.2236531271364718 * far / (1 + far)
    for block in (1, 3, 500):
        found = C.continuous_scores(made, known, block)
        np.testing.assert_allclose(found["amd"], (far / (1 + far)).min(1))
        np.testing.assert_allclose(found["elmd"], (work / (1 + work)).min(1))
        np.testing.assert_allclose(found["both"], blend.min(1))
    own = abs(made.amd[:, None] - made.amd[None]).max(-1)
    mean = (own / (1 + own)).sum(1) / (len(CRYSTALS) - 1)
    np.testing.assert_allclose(C.continuous_scores(made, block=2)["amd"], mean)


def test_what_has_no_distance_is_left_out():
    flat = Structure(Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 1e-9]]), ["Na"], [[0, 0, 0]])
    found = C.continuous_scores(C.descriptors([flat, *CRYSTALS[:2]]), C.descriptors([flat, CRYSTALS[1]]))
    assert np.isnan(found["both"][0]) and found["both"][2] == pytest.approx(0, abs=1e-9)
    assert np.isnan(C.continuous_scores(C.descriptors([CRYSTALS[0]]))["amd"]).all()
    assert np.isnan(C.continuous_scores(C.descriptors([CRYSTALS[0]]), C.descriptors([flat]))["amd"]).all()


def test_the_command_adds_six_figures(tmp_path, capsys):
    from dpcdvae.cli.app import main

    for k, s in enumerate(CRYSTALS[1:4]):
        s.to(str(tmp_path / f"{k}.cif"))
    out = tmp_path.parent / f"{tmp_path.name}_out"
    how = [
        "evaluate",
        str(tmp_path),
        "--reference",
        str(tmp_path),
        "--quick",
        "--workers",
        "1",
        "--out",
        str(out),
    ]
    assert main([*how, "--continuous", "--quiet"]) in (0, None)
    found = json.loads((out / "metrics.json").read_text())["metrics"]
    assert {k for k in found if k.split("_")[-1] in C.KINDS} == {
        f"{what}_{kind}" for what in ("unique", "novel") for kind in C.KINDS
    }
    assert found["novel_both"]["value"] == pytest.approx(0, abs=1e-6) and found["novel_both"]["count"] == 3
    assert 0.1 < found["unique_elmd"]["value"] < 1
    assert "novel_amd" in (out / "per_crystal.csv").read_text().split("\n")[0]
    assert "continuous novelty, AMD" in (out / "report.html").read_text()
    assert main([*how[:-1], str(out) + "2", "--quiet"]) in (0, None)
    assert (
        "novel_both"
        not in json.loads((tmp_path.parent / f"{out.name}2" / "metrics.json").read_text())["metrics"]
    )
