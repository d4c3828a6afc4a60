#!/bin/bash
# pymatgen's order parameter of the body-centred cube depends on the order in which the neighbours are listed; the others do not.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version

import numpy as np
from pymatgen.analysis.local_env import LocalStructOrderParams
from pymatgen.core import Site

print("pymatgen-core", version("pymatgen-core"))
rng = np.random.default_rng(0)
cube = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) + rng.normal(0, 0.15, (8, 3))
spread = {}
for kind in ("bcc", "hex_bipyr", "q4"):
    measure, found = LocalStructOrderParams([kind]), []
    for _ in range(6):
        sites = [Site("Fe", [0, 0, 0])] + [Site("Fe", v) for v in rng.permutation(cube)]
        found.append(measure.get_order_parameters(sites, 0, indices_neighs=list(range(1, 9)))[0])
    spread[kind] = max(found) - min(found)
    print(f"{kind}: {np.round(found, 5).tolist()}")
assert spread["bcc"] > 1e-4 > 1e-9 > max(spread["hex_bipyr"], spread["q4"]), "the behaviour has changed"
P
