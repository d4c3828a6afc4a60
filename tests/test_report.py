"The page of an evaluation: what a referee looks for first stands first, and is what it is called."

import hashlib
import json
import re

import pytest

from dpcdvae.cli.app import main
from dpcdvae.evaluation.report import STRICT, notable, picked, report_html

QUICK = ("--model", "perov_mini", "--steps", "8", "--workers", "1")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    "Reconstructed and generated crystals with two films each, evaluated."
    home = tmp_path_factory.mktemp("report")
    made = ("--num", "8", "--film", "2", "--out", str(home / "new"))
    rebuilt = ("--data", "perov_mini", "--limit", "8", "--film", "2", "--out", str(home / "rec"))
    known = ("--reference", "perov_mini", "--test", "perov_mini", "--quick", "--workers", "1")
    assert main(["generate", *QUICK, *made]) == 0
    assert main(["reconstruct", *QUICK, *rebuilt]) == 0
    for name in ("new", "rec"):
        assert main(["evaluate", str(home / name), *known]) == 0
    return home


def page(home, name) -> str:
    return (home / f"{name}_evaluation" / "report.html").read_text()


@pytest.mark.parametrize("name", ["new", "rec"])
def test_origin_comes_first(home, name):
    text, run = page(home, name), json.loads((home / name / "run.json").read_text())
    head = text[: text.index('class="grid cards"')]
    digest = hashlib.sha256((home / name / "crystals.csv").read_bytes()).hexdigest()[:16]
    for wanted in (digest, run["weights"], "perov_mini", "15 minutes, seed 0", "pymatgen", " UTC", "cores"):
        assert wanted in head, wanted
    stored = json.loads((home / f"{name}_evaluation" / "metrics.json").read_text())["provenance"]
    assert stored["digests"]["crystals"] == digest


def test_strict_and_novel_numbers_come_first_with_chance(home):
    cards = lambda text: re.findall(r'<div class="soft">(.*?)</div>.*?<small>(.*?)</small>', text)
    (first, small), *_ = cards(page(home, "rec"))
    assert first == "strict match rate" and "by chance" in small
    assert cards(page(home, "new"))[0][0] == "valid, unique and novel"


def test_headlines_stand_next_to_sets_without_a_network(home, capsys):
    levels = json.loads((home / "new_evaluation/metrics.json").read_text())["levels"]
    assert {k: s["num"] for k, s in levels.items()} == {"random placement": 8, "test set": 8}
    novel = [levels[k]["metrics"]["novel"]["value"] for k in levels]
    assert novel[0] == 1.0  # random placement is always new
    text = page(home, "new")
    assert "random placement, 8 crystals" in text and "<br>random placement 100.0&nbsp;%" in text
    assert "random placement" not in page(home, "rec")
    known = ("--reference", "perov_mini", "--test", "perov_mini", "--quick", "--workers", "1")
    out = ("--out", str(home / "again"))
    assert main(["evaluate", str(home / "new"), *known, *out]) == 0
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("novel"))
    assert "(random placement 100.0 %, test set" in said
    assert main(["evaluate", str(home / "new"), *known, *out, "--baselines", "none"]) == 0
    assert "random placement" not in capsys.readouterr().out


@pytest.mark.parametrize("name,line", [("new", "test set"), ("rec", "targets")])
def test_what_is_compared_with_lies_behind_every_distribution(home, name, line):
    text = page(home, name)
    parts = text[text.index("<h2>Distributions") : text.index("<h2>Reasons")].split('<div class="card">')[1:]
    drawn = {re.search("<h3>(.*?)</h3>", p)[1]: p for p in parts}
    for title in ("Smallest distance between atoms", "Density"):
        assert f"Line: {line}." in drawn[title] and re.search('class="b2" d="M', drawn[title])


@pytest.mark.parametrize("name", ["new", "rec"])
def test_crystals_are_drawn_and_films_linked(home, name):
    text = page(home, name)
    look = text[text.index("<h2>Some of the crystals") : text.index("<h2>Rates")]
    assert look.count("<svg") >= 3
    links = re.findall('href="(.*?)"', look)
    assert links, "no film is linked"
    for link in links:
        film = home / f"{name}_evaluation" / link
        assert "<script" in film.read_text() and film.stat().st_size > 10**5


def test_a_reference_is_not_called_a_test_set(home, capsys):
    out = home / "alone"
    alone = ("--reference", "perov_mini", "--quick", "--workers", "1", "--out", str(out))
    assert main(["evaluate", str(home / "new"), *alone]) == 0
    said, text = capsys.readouterr().out, (out / "report.html").read_text()
    assert "No test set was given" in said and "No test set was given" in text
    assert "Line: reference." in text and "Line: test set." not in text
    assert "No test set was given" not in page(home, "new") + page(home, "rec")


def test_best_matches_are_matches():
    rows = [
        dict(index=0, matched=True, rms=0.01, max_dist=0.2, **{STRICT: False}),
        dict(index=1, matched=True, rms=0.03, max_dist=0.05, **{STRICT: True}),
        dict(index=2, matched=False, **{STRICT: False}),
    ]
    numbers = [[r["index"] for r in found] for _, found, _ in notable(rows, "reconstruct")]
    assert numbers == [[1], [0], [2]]
    many = [dict(index=i, valid=True, unique=True, novel=i > 2, min_dist=2 + i / 10) for i in range(9)]
    assert {r["index"] for r in picked(many, "generate")} == {3, 4, 5, 6, 7, 8}
    assert picked(many, "generate", filmed={4})[0]["index"] == 4


def test_novelty_that_is_not_known_is_said():
    summary = dict(
        kind="generate", num_crystals=0, metrics={}, reasons={}, settings={}, versions={}, seconds=0
    )
    assert "how many of the crystals are novel is not known" in report_html([], summary)
    assert "No reference" not in report_html([], summary | dict(metrics=dict(novel=dict(value=None))))
