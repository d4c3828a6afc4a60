"Names of version 0.1 and of renamed modules go on working for one release, each with a warning."

import json
from importlib import import_module

import pytest

from benchmarks.house import ROOT

OLD = json.loads((ROOT / "dpcdvae/old_names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", OLD)
def test_every_old_name_leads_somewhere(module):
    with pytest.warns(DeprecationWarning, match=f"dpcdvae.{module}."):
        for name, place in OLD[module].items():
            home, _, renamed = place.partition(":")
            there = getattr(import_module(f"dpcdvae.{home}"), renamed or name)
            if (ROOT / f"dpcdvae/{module}/{name}.py").exists():
                continue  # a chapter that is called as a function was: it comes first where it is loaded
            assert getattr(import_module(f"dpcdvae.{module}"), name) is there


def test_a_renamed_module_of_a_folder_is_imported_by_its_old_name():
    from dpcdvae.viz import plot
    from dpcdvae.viz.atoms import cell

    with pytest.warns(DeprecationWarning, match="viz.plot.cell is now dpcdvae.viz.atoms.cell"):
        assert plot.cell is cell
    with pytest.raises(AttributeError, match="no attribute 'circle'"):
        plot.circle
    with pytest.raises(ModuleNotFoundError):
        import_module("dpcdvae.viz.plots")
