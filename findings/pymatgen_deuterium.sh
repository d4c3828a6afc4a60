#!/bin/bash
# pymatgen tells D from H in == and in mass, but counts them as one in a composition, diffracts neutrons off D as off H, and saves D as H.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16
"$T/v/bin/pip" install -q --no-deps pymatgen==2026.10.24
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
from pymatgen.analysis.diffraction.neutron import NDCalculator
from pymatgen.core import Composition, Element, Lattice, Structure

print("pymatgen-core", version("pymatgen-core"))
print("Element('D') == Element('H'):", Element("D") == Element("H"))
hdo = Composition("HDO")
print("HDO: H", hdo["H"], "D", hdo["D"], "O", hdo["O"], "atoms", hdo.num_atoms)
hydride = {e: Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.08), ["Li", e], [[0, 0, 0], [0.5] * 3]) for e in "HD"}
peaks = {e: NDCalculator().get_pattern(s).y.round(2).tolist()[:4] for e, s in hydride.items()}
print("neutron peaks of LiH", peaks["H"], "of LiD", peaks["D"], "(scattering lengths -3.7 and +6.7 fm)")
density = hydride["D"].density
saved = Structure.from_dict(hydride["D"].as_dict()).density
print(f"density of LiD {density:.4f}, after as_dict and from_dict {saved:.4f}, of LiH {hydride['H'].density:.4f} g/cm3")
assert Element("D") != Element("H") and (hdo["H"], hdo["D"], hdo.num_atoms) == (2, 2, 3), "the behaviour has changed"
assert peaks["H"] == peaks["D"], "the behaviour has changed"
assert density > 1.08 * saved and abs(saved - hydride["H"].density) < 1e-3 * saved, "the behaviour has changed"
P
