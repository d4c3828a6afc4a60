"""Order parameters and CrystalNN's shares, computed at once, against pymatgen's and matminer's one by one."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Site, Structure

from dpcdvae.crystal import voronoi as V
from dpcdvae.crystal.motifs import angles_of, order_parameter

featurizer = pytest.importorskip("matminer.featurizers.site.fingerprint")
FINGERPRINT = featurizer.CrystalNNFingerprint.from_preset("ops")
CASES = [(cn, op) for cn, ops in FINGERPRINT.ops.items() for op in ops if op != "wt"]
CUBE = [[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]
EDGES = [p for a in (-1, 1) for b in (-1, 1) for p in ([a, b, 0], [a, 0, b], [0, a, b])]
RING = [[np.cos(t), np.sin(t), 0] for t in 2 * np.pi * np.arange(3) / 3]
IDEAL = {3: RING, 5: [[0, 0, 1], [0, 0, -1], *RING], 8: CUBE, 12: EDGES, 2: [[1, 0, 0], [-1, 0, 0]]}
IDEAL |= {6: [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], 4: CUBE[::3] + CUBE[1:2]}


@pytest.mark.parametrize("cn, op", CASES, ids=[f"{cn} {op._types[0]}" for cn, op in CASES])
def test_order_parameters_are_pymatgens(cn, op):
    rng = np.random.default_rng(cn)
    vectors = [rng.normal(size=(cn, 3)) for _ in range(4)]
    ideal = np.array(IDEAL.get(cn, vectors[0]), dtype=float)
    vectors = np.array([*vectors, ideal, ideal + rng.normal(0, 0.08, ideal.shape), 2.5 * ideal])
    sites = [[Site("C", [0, 0, 0]), *(Site("O", v) for v in x)] for x in vectors]
    near = list(range(1, cn + 1))
    theirs = [op.get_order_parameters(s, 0, indices_neighs=near)[0] or 0 for s in sites]
    mine = order_parameter(op._types[0], angles_of(vectors), op._params[0])
    np.testing.assert_allclose(mine, theirs, atol=1e-7)
    alone = [order_parameter(op._types[0], angles_of(v[None]), op._params[0])[0] for v in vectors]
    np.testing.assert_allclose(mine, alone, atol=1e-12)


def crystals():
    rng = np.random.default_rng(5)
    slanted = Lattice([[5, 0, 0], [1, 5.5, 0], [0.5, 1, 6]])
    yield Structure(slanted, ["Si", "O", "O", "Na", "He", "O"], rng.random((6, 3)))
    yield Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]])
    yield Structure(Lattice.cubic(2.9), ["Fe"], [[0, 0, 0]])
    yield Structure(
        Lattice.hexagonal(2.46, 6.7),
        ["C"] * 4,
        [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5]],
    )
    yield Structure(Lattice.tetragonal(4, 21), ["Ti", "O"], [[0, 0, 0], [0, 0, 0.1]])  # an open cell


@pytest.mark.parametrize("structure", crystals(), ids=lambda s: s.composition.reduced_formula)
def test_shares_are_crystal_nns(structure):
    for i, mine in enumerate(V.crystal_nn(structure)):
        theirs = FINGERPRINT.cnn.get_nn_data(structure, i)
        assert [cn for cn, _, _ in mine] == sorted(c for c in theirs.cn_weights if c)
        for cn, share, near in mine:
            assert share == pytest.approx(theirs.cn_weights[cn], abs=1e-9)
            gaps = [np.linalg.norm(n["site"].coords - structure[i].coords) for n in theirs.cn_nninfo[cn]]
            np.testing.assert_allclose(np.sort(np.linalg.norm(near, axis=-1)), np.sort(gaps), atol=1e-6)


def test_a_cell_that_is_not_closed_is_left_to_pymatgen():
    open_cell = list(crystals())[-1]
    assert V.faces_of(open_cell, 0) is None
    theirs = FINGERPRINT.cnn.get_nn_data(open_cell, 0).cn_weights
    assert {cn: share for cn, share, _ in V.crystal_nn(open_cell)[0]} == {
        c: w for c, w in theirs.items() if c
    }


def test_faces_fill_the_sphere():
    s = next(crystals())
    volumes = []
    for i in range(len(s)):
        faces = V.faces_of(s, i)
        half = np.linalg.norm(faces.coords - s[i].coords, axis=1) / 2
        angle, area = V.measure_faces(faces.corners, half)
        assert angle.sum() == pytest.approx(4 * np.pi, abs=1e-6)
        volumes.append((area * half / 3).sum())
    assert sum(volumes) == pytest.approx(s.volume, rel=1e-6)
