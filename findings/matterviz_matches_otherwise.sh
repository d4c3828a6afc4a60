#!/bin/bash
# matterviz-wasm 0.0.10 and pymatgen 2026.10.24, same tolerances: of 200 pairs of perovskite cells with random coordinates several match by one matcher alone, in both directions.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
cd "$T"
npm pack --silent matterviz-wasm@0.0.10 >/dev/null
tar xzf matterviz-wasm-0.0.10.tgz
python3.11 -m venv v
v/bin/pip install -q pymatgen==2026.10.24
cat >pairs.py <<'P'
import json
import sys

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

rng, kinds = np.random.default_rng(0), ["Sr", "Ti", "O", "O", "O"]
true = Structure(Lattice.cubic(3.9), kinds, [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
made = [Structure(true.lattice, kinds, rng.random((5, 3))) for _ in range(200)]
if sys.argv[1] == "write":
    json.dump([s.as_dict() for s in [true, *made]], open("crystals.json", "w"))
else:
    wasm = json.load(open("answers.json"))
    matcher = StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10)
    ours = [matcher.get_rms_dist(s, true) for s in made]
    only = [sum(a is not None and b is None for a, b in zip(*x)) for x in ((ours, wasm), (wasm, ours))]
    both = [(a[0], b["rms"]) for a, b in zip(ours, wasm) if a is not None and b is not None]
    print("pymatgen alone:", only[0], "matterviz-wasm alone:", only[1], "both:", len(both))
    print("both, RMS differs by more than 1e-3:", sum(abs(a - b) > 1e-3 for a, b in both))
    assert min(only) > 0, "the behaviour has changed"
P
cat >ask.mjs <<'P'
import fs from "node:fs"
const wasm = await import(process.cwd() + "/package/pkg/ferrox.js")
await wasm.default({ module_or_path: fs.readFileSync("package/pkg/ferrox_bg.wasm") })
const [target, ...made] = JSON.parse(fs.readFileSync("crystals.json"))
const matcher = () => new wasm.WasmStructureMatcher().with_latt_len_tol(0.3).with_site_pos_tol(0.5).with_angle_tol(10)
fs.writeFileSync("answers.json", JSON.stringify(made.map((s) => matcher().get_rms_dist(s, target).ok)))
P
v/bin/python pairs.py write
node ask.mjs
v/bin/python pairs.py compare
