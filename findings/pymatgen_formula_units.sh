#!/bin/bash
# A CIF by pymatgen states a number of formula units that does not fit its formulas: 3 units of Na2O2 for Na7O7, none for NaO.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version

from pymatgen.core import Composition, Lattice, Structure

print("pymatgen-core", version("pymatgen-core"))
seen = []
for species in (["Na", "Cl"] * 4, ["Na", "O"] * 7, ["Na", "O"], ["O"] * 5):
    made = Structure(Lattice.cubic(9), species, [[k / len(species), 0.1 * k, 0.2 * k] for k in range(len(species))])
    said = dict(x.split(None, 1) for x in made.to(fmt="cif").split("\n") if "formula" in x)
    unit, whole, num = (said[k].strip("' ") for k in ("_chemical_formula_structural", "_chemical_formula_sum", "_cell_formula_units_Z"))
    atoms = Composition(unit).num_atoms * int(num)
    seen.append(atoms == len(made))
    print(f"{whole}: {num} units of {unit} are {atoms:g} atoms, the cell has {len(made)}")
assert seen == [True, False, False, False], "the behaviour has changed"
P
