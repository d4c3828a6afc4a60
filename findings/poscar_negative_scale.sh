#!/bin/bash
# A negative scale in a POSCAR is the volume of the cell: ASE and dpdata read it so, pymatgen misplaces Cartesian atoms, phonopy takes it for a factor.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16 ase==3.29.0 phonopy==4.10.0 dpdata==1.1.0
cd "$T" && "$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
from pathlib import Path

import ase.io
import dpdata
import numpy as np
from phonopy.interface.vasp import read_vasp
from pymatgen.io.vasp import Poscar

print({n: version(n) for n in ("pymatgen-core", "ase", "phonopy", "dpdata")})
text = "salt\n{}\n1 0 0\n0 1 0\n0 0 1\n{}\n1 1\n{}\n0 0 0\n0.5 0.5 0.5\n"


def readings(*what) -> dict:  # name -> edge and place of the second atom in Å, its element
    Path("POSCAR").write_text(text.format(*what))
    s = Poscar.from_file("POSCAR").structure
    a, p = ase.io.read("POSCAR", format="vasp"), read_vasp("POSCAR")
    d = dpdata.System("POSCAR", fmt="vasp/poscar")
    return {
        "pymatgen": (s.lattice.a, s.cart_coords[1][0], s[1].specie.symbol),
        "ase": (a.cell[0, 0], a.positions[1][0], a.symbols[1]),
        "phonopy": (p.cell[0, 0], p.positions[1][0], p.symbols[1]),
        "dpdata": (d["cells"][0][0, 0], d["coords"][0][1, 0], d["atom_names"][1]),
    }


seen = {}
for what in (("4.0", "Na Cl", "Direct"), ("-64.0", "Na Cl", "Direct"), ("-64.0", "Na Cl", "Cartesian"), ("4.0", "Na_pv Cl_h", "Direct")):
    seen[what] = readings(*what)
    print(f"scale {what[0]}, {what[2]}, elements {what[1]}: edge, place of the second atom, its element")
    for name, (edge, place, element) in seen[what].items():
        print(f"  {name:9s} {edge:7.2f} {place:7.2f}  {element}")
right = {k: {n for n, v in found.items() if np.allclose(v[:2], (4, 2)) and v[2] == "Cl"} for k, found in seen.items()}
every = {"pymatgen", "ase", "phonopy", "dpdata"}
expected = [every, every - {"phonopy"}, {"ase", "dpdata"}, {"pymatgen", "ase"}]
assert list(right.values()) == expected, ("the behaviour has changed", right)
P
