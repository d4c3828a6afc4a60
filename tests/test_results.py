"Lists of results, whatever made them: written, tabled, shown."

import pytest
import torch

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.as_crystals import as_crystals
from dpcdvae.data.files import DataError
from dpcdvae.data.results import Results
from dpcdvae.energy.relax import energies, relax_many
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE


@pytest.fixture(scope="module")
def lists():
    "Results of a reconstruction without every film, of a relaxation, and of a folder of energies."
    torch.manual_seed(0)
    model = DPCDVAE(get_config("tiny")).eval()
    pair = CrystalBatch.cat([toy("NaCl"), toy("SrTiO3")])
    copper = toy("Cu").to_structures()[0]
    close = copper.copy()
    close.append("Cu", copper[0].frac_coords + 0.01)
    return dict(
        reconstruct=(model.reconstruct(pair, films=1, steps=2), pair.formulas()),
        relax=(relax_many([copper, close], "emt", max_steps=1), [toy("Cu").formulas()[0], ""]),
        energies=(energies([copper], None, "emt", max_steps=1, progress=False)[0], toy("Cu").formulas()),
    )


@pytest.mark.parametrize("kind", ["reconstruct", "relax", "energies"])
def test_every_list_of_results_is_written_and_tabled(lists, tmp_path, kind):
    made, formulas = lists[kind]
    assert isinstance(made, list) and isinstance(made, Results)
    table = made.to_pandas()
    assert list(table.formula) == formulas and list(table["index"]) == list(range(len(formulas)))
    known = sorted(f for f in formulas if f)
    assert sorted(as_crystals(f"{made.to_cif(tmp_path / 'cifs')}/*.cif").formulas()) == known
    assert sorted(as_crystals(str(made.to_extxyz(tmp_path / "a.extxyz"))).formulas()) == known


def test_the_table_keeps_energies_and_reasons(lists):
    table = lists["relax"][0].to_pandas()
    assert table.relaxed_energy[0] < 1 and table.reason[1] == "atoms too close"


def test_shown_in_motion_where_there_is_motion(lists):
    moving, still = lists["reconstruct"][0].show(), lists["relax"][0].show()
    assert moving.num_frames > 1 and still.num_frames == 1
    with pytest.raises(DataError, match="no result has a crystal"):
        Results([None]).show()
