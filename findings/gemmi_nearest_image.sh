#!/bin/bash
# gemmi's nearest image is not the nearest in a cell that is not reduced.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q gemmi==0.7.5 numpy==2.4.6
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
import gemmi
import numpy as np

print("gemmi", version("gemmi"))
base, seen = np.diag([4.0, 4.5, 5.0]), []
pairs = np.random.default_rng(0).random((200, 2, 3))
for k in (0, 1, 2):
    lattice = np.array([[1, 0, 0], [k, 1, 0], [0, k, 1]]) @ base  # the same orthorhombic lattice each time
    lengths = np.linalg.norm(lattice, axis=1)
    unit = lattice / lengths[:, None]
    angles = [np.degrees(np.arccos(unit[i] @ unit[j])) for i, j in ((1, 2), (0, 2), (0, 1))]
    cell, wrong, worst = gemmi.UnitCell(*lengths, *angles), 0, 0.0
    for x, y in pairs:
        p, q = (cell.orthogonalize(gemmi.Fractional(*f)) for f in (x, y))
        found = cell.find_nearest_image(p, q, gemmi.Asu.Any).dist()
        d = (y - x) @ lattice @ np.linalg.inv(base)  # the difference in the reduced, rectangular cell
        true = np.linalg.norm((d - np.round(d)) @ base)
        wrong, worst = wrong + (abs(found - true) > 1e-3), max(worst, found - true)
    seen.append(wrong)
    print(f"a, b + {k}a, c + {k}b; angles {np.round(angles, 1).tolist()}: {wrong} of 200 distances too long, by up to {worst:.2f} Å")
assert seen[0] == 0 and seen[1] > 30 and seen[2] > 100, "the behaviour has changed"
P
