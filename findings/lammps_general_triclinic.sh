#!/bin/bash
# A LAMMPS dump whose header gives the vectors of a general triclinic cell (`abc origin`): ASE reads them, pymatgen and dpdata take them for bounds.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16 pymatgen==2026.10.24 ase==3.29.0 dpdata==1.1.0
cd "$T" && "$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
from pathlib import Path

import ase.io
import dpdata
import numpy as np
from pymatgen.io.lammps.outputs import parse_lammps_dumps

print({n: version(n) for n in ("pymatgen", "ase", "dpdata")})
cell = np.array([[3.8, 0.9, 0.4], [0.3, 4.8, 1.3], [-1.1, 0.2, 5.9]])
origin, places = [0.5, -0.3, 0.2], np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
row = lambda numbers: " ".join(f"{x:.6f}" for x in numbers)
lines = ["ITEM: TIMESTEP", "0", "ITEM: NUMBER OF ATOMS", "2", "ITEM: BOX BOUNDS abc origin pp pp pp"]
lines += [row([*v, o]) for v, o in zip(cell, origin)] + ["ITEM: ATOMS id type x y z"]
lines += [f"{k + 1} {k + 1} {row(x + origin)}" for k, x in enumerate(places @ cell)]
Path("x.dump").write_text("\n".join(lines) + "\n")
volume = lambda m: abs(float(np.linalg.det(m)))
seen = {
    "ase": volume(ase.io.read("x.dump", format="lammps-dump-text").cell[:]),
    "pymatgen": next(parse_lammps_dumps("x.dump")).box.to_lattice().volume,
    "dpdata": volume(dpdata.System("x.dump", fmt="lammps/dump", type_map=["A", "B"])["cells"][0]),
}
print(f"volume of the cell {volume(cell):.2f} Å^3; read:", {k: round(v, 2) for k, v in seen.items()})
right = [k for k, v in seen.items() if abs(v - volume(cell)) < 1e-3]
assert right == ["ase"], "the behaviour has changed"
P
