#!/bin/bash
# pymatgen's conventional standard cell turns a tetragonal chiral crystal with a > c into its mirror image.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16 spglib==2.8.0
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

print("pymatgen-core", version("pymatgen-core"), "spglib", version("spglib"))
number = lambda s: SpacegroupAnalyzer(s, 0.01).get_space_group_number()
seen = []
for group, a, c in ((76, 5, 7), (76, 7, 5), (91, 7, 5), (92, 7, 5), (76, 7, 7.1)):
    sites = [[0.11, 0.23, 0.31], [0.40, 0.17, 0.05]]
    crystal = Structure.from_spacegroup(group, Lattice.tetragonal(a, c), ["Si", "O"], sites)
    of = SpacegroupAnalyzer(crystal, 0.01)
    row = [number(x) for x in (crystal, of.get_refined_structure(), of.get_conventional_standard_structure(), of.get_primitive_standard_structure())]
    seen.append(row)
    print(f"group {group}, a {a} c {c} Å: as given {row[0]}, refined {row[1]}, conventional standard {row[2]}, primitive standard {row[3]}")
assert seen == [[76, 76, 76, 76], [76, 76, 78, 78], [91, 91, 95, 95], [92, 92, 96, 96], [76, 76, 76, 76]], "the behaviour has changed"
P
