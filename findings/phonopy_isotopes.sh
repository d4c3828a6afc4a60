#!/bin/bash
# phonopy finds symmetry and the primitive cell without looking at masses: a cell of one H and one D becomes a cell of one H.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q phonopy==4.10.0
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
import numpy as np
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

print("phonopy", version("phonopy"))
seen = []
for masses in ([1.008, 2.014], [2.014, 1.008]):
    cell = PhonopyAtoms(symbols=["H", "H"], cell=np.eye(3) * 3, scaled_positions=[[0, 0, 0], [0.5] * 3], masses=masses)
    auto = Phonopy(cell, np.eye(3, dtype=int) * 2, primitive_matrix="auto")
    seen.append((auto.symmetry.get_international_table(), len(auto.primitive), auto.primitive.masses.tolist()))
    print(f"masses {masses}: symmetry {seen[-1][0]}, primitive cell by auto: {seen[-1][1]} atom, masses {seen[-1][2]}")
assert [s[1:] for s in seen] == [(1, [1.008]), (1, [2.014])] and seen[0][0].startswith("Im-3m"), "the behaviour has changed"
P
