#!/bin/bash
# A strained slab becomes periodic in three directions in pymatgen; so do its primitive and its refined cell.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16 pymatgen==2026.10.24 spglib==2.8.0
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.transformations.standard_transformations import DeformStructureTransformation

print("pymatgen-core", version("pymatgen-core"))
layer = Structure(Lattice.from_parameters(3, 3, 3.5, 90, 90, 90, pbc=(True, True, False)), ["Cu"], [[0, 0, 0.5]])
seen = {
    "as given": layer,
    "copy": layer.copy(),
    "make_supercell": (layer.copy().make_supercell([2, 2, 1], in_place=False)),
    "from_dict(as_dict)": Structure.from_dict(layer.as_dict()),
    "apply_strain": layer.copy().apply_strain(0.01, inplace=False),
    "DeformStructureTransformation": DeformStructureTransformation(np.eye(3) * 1.01).apply_transformation(layer),
    "get_primitive_structure": (layer * (2, 2, 1)).get_primitive_structure(),
    "get_refined_structure": SpacegroupAnalyzer(layer).get_refined_structure(),
}
for name, s in seen.items():
    print(f"{name:30s} pbc {s.lattice.pbc}, neighbours within 4 Å: {len(s.get_neighbors(s[0], 4))}")
kept = [name for name, s in seen.items() if s.lattice.pbc == (True, True, False)]
assert kept == ["as given", "copy", "make_supercell", "from_dict(as_dict)"], "the behaviour has changed"
P
