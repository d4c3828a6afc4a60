#!/bin/bash
# pymatgen reads an input of Quantum ESPRESSO without its units: cells in bohr as Å, places in bohr, alat or (at times) Å as something else.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16 pymatgen==2026.10.24 ase==3.29.0
cd "$T" && "$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
from pathlib import Path

import ase.io
import numpy as np
from pymatgen.io.pwscf import PWInput

print("pymatgen", version("pymatgen"), "ase", version("ase"))
BOHR, ALAT = 0.529177210903, 7.0  # Å; bohr
cell, places = np.array([[4, 0, 0], [0.5, 5, 0], [0, 0.3, 6]]), np.array([[0, 0, 0], [0.1, 0.2, 0.3]])
UNITS = {"angstrom": 1, "bohr": BOHR, "alat": ALAT * BOHR}


def text(of_cell, of_places) -> str:
    rows = lambda m, words: "\n".join(w + " ".join(f"{x:.9f}" for x in r) for w, r in zip(words, m))
    x = places if of_places == "crystal" else places @ cell / UNITS[of_places]
    alat = f"celldm(1)={ALAT}, " if of_cell == "alat" else ""
    system = f"&system\n ibrav=0, {alat}nat=2, ntyp=2, ecutwfc=30\n/\n"
    head = f"&control\n calculation = 'scf'\n pseudo_dir = '.'\n/\n{system}&electrons\n/\n"
    species = "ATOMIC_SPECIES\nNa 22.99 Na.upf\nCl 35.45 Cl.upf\n"
    axes = f"CELL_PARAMETERS {of_cell}\n{rows(cell / UNITS[of_cell], [''] * 3)}\n"
    return f"{head}{species}{axes}ATOMIC_POSITIONS {of_places}\n{rows(x, ['Na ', 'Cl '])}\nK_POINTS gamma\n"


right = {}
for units in (("angstrom", "crystal"), ("angstrom", "angstrom"), ("angstrom", "bohr"), ("bohr", "crystal"), ("bohr", "angstrom"), ("alat", "alat")):
    Path("x.in").write_text(text(*units))
    s, atoms = PWInput.from_file("x.in").structure, ase.io.read("x.in", format="espresso-in")
    same = lambda m, f: np.allclose(m, cell, atol=1e-4) and np.allclose(f, places, atol=1e-4)
    right[units] = same(s.lattice.matrix, s.frac_coords), same(atoms.cell[:], atoms.get_scaled_positions(wrap=False))
    print(f"cell in {units[0]}, places in {units[1]}: a = 4 Å is read as {s.lattice.a:.3f} Å, (0.1, 0.2, 0.3) as {s.frac_coords[1].round(3).tolist()} (ASE: {'right' if right[units][1] else 'wrong'})")
assert all(r[1] for r in right.values()) and [r[0] for r in right.values()] == [True, True] + [False] * 4, "the behaviour has changed"
P
