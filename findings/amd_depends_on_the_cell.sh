#!/bin/bash
# The average minimum distance of one crystal differs between two of its cells: the search stops at a shell of whole numbers, not of distances.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q average-minimum-distance==1.6.1 numpy==2.4.6
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version

import amd
import numpy as np

print("average-minimum-distance", version("average-minimum-distance"))
base, seen = np.diag([4.0, 4.5, 5.0]), []
for k in (0, 1, 2, 3, 5):
    cell = np.array([[1, 0, 0], [k, 1, 0], [0, k, 1]]) @ base  # the same lattice each time
    seen.append(amd.AMD(amd.PeriodicSet(np.zeros((1, 3)), cell), 100))
    print(f"a, b + {k}a, c + {k}b: AMD differs by up to {abs(seen[-1] - seen[0]).max():.3f} Å")
gaps = [abs(x - seen[0]).max() for x in seen]
assert max(gaps[:2]) < 1e-6 and gaps[-1] > 0.1, "the behaviour has changed"
P
