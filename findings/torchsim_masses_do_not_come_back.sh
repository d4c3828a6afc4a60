#!/bin/bash
# TorchSim takes the masses of ASE atoms into its state and leaves them there: the atoms it gives back have standard masses.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.12 -m venv "$T/v"
"$T/v/bin/pip" install -q torch==2.13.0 torch-sim-atomistic==0.6.2 ase==3.29.0
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version

import torch
import torch_sim as ts
from ase import Atoms

print("torch-sim-atomistic", version("torch-sim-atomistic"))
atoms = Atoms("H2", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3, 3, 3], pbc=True, masses=[1.008, 2.014])
state = ts.io.atoms_to_state([atoms], device=torch.device("cpu"), dtype=torch.float64)
back = ts.io.state_to_atoms(state)[0]
seen = [m.tolist() for m in (atoms.get_masses(), state.masses, back.get_masses())]
print("masses of the atoms, the state, the atoms that come back:", *seen)
assert seen == [[1.008, 2.014], [1.008, 2.014], [1.008, 1.008]], "the behaviour has changed"
P
