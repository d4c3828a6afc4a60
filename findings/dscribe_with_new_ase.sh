#!/bin/bash
# Four descriptors of DScribe 2.1.2, which asks for ASE 3.19 or newer, cannot be made with ASE 3.29: they copy atoms with momenta and velocities at once.
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q dscribe==2.1.2 ase==3.29.0 numpy==2.4.6
cat > "$T/made.py" <<'P'
import sys
from importlib.metadata import requires, version

from ase.build import bulk
from dscribe.descriptors import ACSF, LMBTR, MBTR, SOAP, EwaldSumMatrix, SineMatrix, ValleOganov

asked = [r for r in requires("dscribe") if r.startswith("ase")]
print("dscribe", version("dscribe"), "with ase", version("ase"), "asks for", asked)
salt, elements = bulk("NaCl", "rocksalt", a=5.64), dict(species=["Na", "Cl"], periodic=True)
pairs = dict(
    geometry={"function": "inverse_distance"},
    grid={"min": 0, "max": 1, "n": 10, "sigma": 0.02},
    weighting={"function": "exp", "scale": 0.75, "threshold": 1e-3},
)
tried = dict(
    MBTR=MBTR(**pairs, **elements),
    LMBTR=LMBTR(**pairs, **elements),
    ValleOganov=ValleOganov(species=["Na", "Cl"], function="distance", n=10, sigma=0.1, r_cut=5),
    SineMatrix=SineMatrix(n_atoms_max=2),
    EwaldSumMatrix=EwaldSumMatrix(n_atoms_max=2),
    ACSF=ACSF(r_cut=5, g2_params=[[1, 1]], **elements),
    SOAP=SOAP(r_cut=5, n_max=3, l_max=3, **elements),
)
failed = []
for name, descriptor in tried.items():
    try:
        print(f"  {name} of rock salt: shape {descriptor.create(salt).shape}")
    except TypeError as e:
        failed.append(name)
        print(f"  {name} of rock salt: TypeError: {e}")
wanted = ["MBTR", "LMBTR", "ValleOganov", "SineMatrix"] if sys.argv[1] == "new" else []
assert failed == wanted, f"the behaviour has changed: {failed}"
P
"$T/v/bin/python" -W ignore "$T/made.py" new || exit 1
"$T/v/bin/pip" install -q ase==3.26.0
"$T/v/bin/python" -W ignore "$T/made.py" old
