#!/bin/bash
# ElMD, and with it xtalmet, cannot be imported where pip installs it afresh: it imports pkg_resources and names no package that has it.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.12 -m venv "$T/v"
"$T/v/bin/pip" install -q ElMD==0.5.15 numpy==2.4.6
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import requires, version

print("ElMD", version("ElMD"), "requires", requires("ElMD"))
try:
    import ElMD
except ModuleNotFoundError as e:
    print("import ElMD:", e)
    assert e.name == "pkg_resources", "the behaviour has changed"
else:
    raise AssertionError("the behaviour has changed: ElMD can be imported")
P
"$T/v/bin/pip" install -q "setuptools<81"
"$T/v/bin/python" -W ignore -c "from ElMD import elmd; print('with setuptools<81: NaCl to KCl', elmd('NaCl', 'KCl'))"
