#!/bin/bash
# An AlphaID of emmet equals the text and the MPID of the same material, and no set or dictionary of these finds it.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q emmet-core==0.87.3
"$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version

from emmet.core.mpid import MPID, AlphaID

print("emmet-core", version("emmet-core"))
seen = {}
for one in (AlphaID("mp-149"), MPID("mp-149")):
    for other in ("mp-149", MPID("mp-149"), AlphaID("mp-149")):
        seen[type(one).__name__, type(other).__name__] = one == other, one in {other}, {other: 1}.get(one)
for (one, other), found in seen.items():
    print(f"{one:8s} and {other:8s} of mp-149: equal {found[0]}, in a set {found[1]}, looked up {found[2]}")
print("written:", str(AlphaID("mp-149")), str(MPID("mp-149")))
assert all(f[0] for f in seen.values()), "the behaviour has changed"
assert [k for k, f in seen.items() if not f[1]] == [("AlphaID", "str"), ("AlphaID", "MPID"), ("MPID", "AlphaID")], "the behaviour has changed"
P
