#!/bin/bash
# Texts that ASE writes into extended XYZ come back as numbers, truth values or not at all; an empty one takes the next entry with it.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q ase==3.29.0
"$T/v/bin/python" -W ignore - <<'P'
import io
from importlib.metadata import version

import ase.io
from ase import Atoms

print("ase", version("ase"))


def back(**info) -> dict:
    atoms, text = Atoms("Cu", cell=[3, 3, 3], pbc=True, info=info), io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    return ase.io.read(io.StringIO(text.getvalue()), format="extxyz").info


kept = {}
for text in ("mp-149", "P 1", "0012", "1e5", "12e45678", "F", "True", "1 2", "1,2", "nan"):
    found = back(x=text)["x"]
    kept[text] = isinstance(found, str) and found == text
    print(f"{text!r} comes back as {found!r}")
print("None comes back as", back(x=None)["x"])
lost = back(remark="", energy_per_atom=-3.5)
print("remark '' and energy_per_atom -3.5 come back as", lost)
assert [k for k, v in kept.items() if v] == ["mp-149", "P 1"], "the behaviour has changed"
assert back(x=None)["x"] is True and lost == {"remark": "energy_per_atom=-3.5"}, "the behaviour has changed"
P
