"""Overlaps of generated crystals: what is counted, and what is not."""

from benchmarks.overlaps import closest, count_overlaps


def crystal(gap: float, other: str = "O"):  # gap in Å between O and the other atom
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice.cubic(4.0), ["O", other], [[0, 0, 0], [gap / 4, 0, 0]])


def test_collapsed_overlapping_and_apart_are_told_apart():
    found = count_overlaps([closest(crystal(0.05)), closest(crystal(0.3, "Ti")), closest(crystal(2.0, "Ti"))])
    assert (found["total"], found["overlapping"], found["collapsed"]) == (3, 2, 1)
    assert found["same_element"] == 1
    assert found["cells"]["apart"]["volume"] == 32.0


def test_one_atom_has_no_pair():
    from pymatgen.core import Lattice, Structure

    found = count_overlaps([closest(Structure(Lattice.cubic(3.0), ["Po"], [[0, 0, 0]]))])
    assert found["overlapping"] == 0
    assert found["below_ratio"]["0.6"] == 0


def test_the_ratio_is_to_the_sum_of_covalent_radii():
    from ase.data import covalent_radii

    found = closest(crystal(1.0, "Ti"))
    assert abs(found["ratio"] - 1.0 / (covalent_radii[8] + covalent_radii[22])) < 1e-9
