#!/bin/bash
# A POSCAR's flags hold lattice directions. ASE reads them so; pymatgen's bridge to ASE makes Cartesian constraints of the same flags, and drops the constraints that ASE made (with a warning).
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16 ase==3.29.0
cd "$T" && "$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
import ase.io
import numpy as np
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp import Poscar

print("ase", version("ase"), "pymatgen-core", version("pymatgen-core"))
text = "hexagonal\n1.0\n3 0 0\n-1.5 2.5980762 0\n0 0 5\nSi\n2\nSelective dynamics\nDirect\n0 0 0 T F T\n0.3333333 0.6666667 0.5 T T T\n"
open("POSCAR", "w").write(text)
by_ase = ase.io.read("POSCAR", format="vasp")
by_pymatgen = AseAtomsAdaptor.get_atoms(Poscar.from_str(text).structure, msonable=False)
moved = {}
for name, atoms in (("ase", by_ase), ("pymatgen", by_pymatgen)):
    start = atoms.get_positions()
    atoms.set_positions(start + [[0.3, 0.3, 0.0], [0, 0, 0]])  # constraints are applied to the step
    step = atoms.get_positions()[0] - start[0]
    moved[name] = np.linalg.solve(np.array(atoms.cell[:]).T, step)
    print(f"{name}: {type(atoms.constraints[0]).__name__}, the atom moves by {moved[name].round(3).tolist()} along a, b, c (b is held)")
back = AseAtomsAdaptor.get_structure(by_ase).site_properties
print("ase atoms with FixScaled to pymatgen: site properties", back)
assert type(by_ase.constraints[0]).__name__ == "FixScaled" and type(by_pymatgen.constraints[0]).__name__ == "FixCartesian", "the behaviour has changed"
assert np.abs(moved["ase"] - moved["pymatgen"]).max() > 0.01 and "selective_dynamics" not in back, "the behaviour has changed"
P
