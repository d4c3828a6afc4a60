"""What the pages on input from others and on things that go wrong promise: each promise has its test"""

import gzip
import io
import re
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest
from test_inputs import cif

from dpcdvae.data import files, listing
from dpcdvae.data.datasets import load_crystals, read_source
from dpcdvae.data.files import DataError
from dpcdvae.model.dpcdvae import DPCDVAE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "nbs" / "howto" / n for n in ("06_untrusted_input.md", "07_when_things_go_wrong.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_promise_has_its_test(page):
    rows = [r for r in page.read_text().splitlines() if r.startswith("| ") and "::" in r]
    assert len(rows) >= 8
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file}::{name}"


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("name", ["../outside.cif", "/outside.cif", "a/../../outside.cif"])
def test_names_in_an_archive_lead_nowhere(tmp_path, name):
    home = tmp_path / "deep" / "home"
    home.mkdir(parents=True)
    with zipfile.ZipFile(home / "x.zip", "w") as z:
        z.writestr(name, cif())
    with tarfile.open(home / "x.tar", "w") as t:
        member = tarfile.TarInfo(name)
        member.size = len(cif())
        t.addfile(member, io.BytesIO(cif().encode()))
        link = tarfile.TarInfo("link.cif")
        link.type, link.linkname = tarfile.SYMTYPE, "../../outside.cif"
        t.addfile(link)
    before = tree(tmp_path)
    for archive in ("x.zip", "x.tar"):
        crystals, _ = read_source(home / archive, cache=False)
        assert len(crystals) == 1
    assert tree(tmp_path) == before and not Path("/outside.cif").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_that_is_too_large_is_refused(tmp_path, monkeypatch, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("x.cif", cif())
    else:
        with tarfile.open(path, "w") as t:
            member = tarfile.TarInfo("x.cif")
            member.size = len(cif())
            t.addfile(member, io.BytesIO(cif().encode()))
    assert len(read_source(path, cache=False)[0]) == 1
    monkeypatch.setattr(listing, "LARGEST", 100)
    with pytest.raises(DataError, match="would unpack to"):
        read_source(path, cache=False)


def test_a_packed_table_that_is_too_large_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.cif.gz"
    path.write_bytes(gzip.compress(cif().encode()))
    assert len(read_source(path, cache=False)[0]) == 1
    monkeypatch.setattr(files, "LARGEST", 100)
    with pytest.raises(DataError, match="x.cif.gz would unpack to more than"):
        read_source(path, cache=False)


def test_nothing_asks_the_network(monkeypatch, tmp_path):
    def never(*a, **k):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, never)
    monkeypatch.setattr(socket, "getaddrinfo", never)
    model = DPCDVAE.from_pretrained("perov_mini")
    few = load_crystals("perov_mini", split="test", progress=False)[:2]
    made = model.reconstruct(few, steps=2, films=1, progress=False)
    page = made[0].to_html(tmp_path / "film.html").read_text()
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", page) and 'src="http' not in page
