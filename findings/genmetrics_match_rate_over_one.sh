#!/bin/bash
# matbench-genmetrics divides the number of generated crystals that match by the number of test crystals: a rate above 1.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.12 -m venv "$T/v"
"$T/v/bin/pip" install -q matbench-genmetrics==0.6.1 "setuptools<81"
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version

from matbench_genmetrics.core.metrics import GenMatcher
from pymatgen.core import Lattice, Structure

print("matbench-genmetrics", version("matbench-genmetrics"))
nacl, cscl = (Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [x, x, x]]) for x in (0.5, 0.3))
one = GenMatcher([nacl], [nacl, nacl, nacl], match_type="StructureMatcher", verbose=False)
print("one test crystal, three generated copies: match_rate", one.match_rate)
two = GenMatcher([nacl, cscl], [nacl], match_type="StructureMatcher", verbose=False)
print("two test crystals, one of them generated: match_rate", two.match_rate)
assert one.match_rate == 3 and two.match_rate == 0.5, "the behaviour has changed"
P
