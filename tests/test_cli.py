"The command line by its users' habits: defaults, examples, suggestions, exit codes, JSON, pipes, completion."

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpcdvae.cli.app import main
from dpcdvae.cli.arguments import COMMANDS, PRESETS, SAMPLERS, parser
from dpcdvae.crystal.batch import toy

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "import sys; from dpcdvae.cli.app import main; sys.exit(main(sys.argv[1:]))"


def shell(*words, **how):
    "Run the command in a process of its own."
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1") | how.pop("env", {})
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, **how)


def refused(capsys, *words) -> str:
    "The one sentence about wrong words."
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and not out and err.count("\n") == 1
    return err


def test_names_are_those_of_the_library():
    from dpcdvae.diffusion.samplers import SAMPLERS as samplers
    from dpcdvae.model.config import PRESETS as presets

    assert set(PRESETS) == set(presets) and set(SAMPLERS) == {*samplers, "langevin"}


def test_bare_it_shows_its_help(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(f"    {name}" in said for name in COMMANDS) and "exit codes" in said and "completion" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_defaults_choices_and_an_example(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    said, words = capsys.readouterr().out, dict(COMMANDS)[name]
    assert stop.value.code == 0 and f"example:\n  dpcdvae {name}" in said
    parser().parse_args(words[1].split()[1:])
    for flags, how in words[2]:
        if how.get("default") not in (None, "", (), [], "==SUPPRESS==") and "nargs" not in how:
            assert re.search(rf"\(default:\s+{re.escape(str(how['default']))}\)", said), flags
        assert how.get("help"), f"{flags} has no help"


@pytest.mark.parametrize(
    "words,meant",
    [
        ("genrate --num 4", "generate"),
        ("generate --modl perov-5 --num 4 --out x", "--model"),
        ("generate --model perov-5 --num 4 --out x --sedd 3", "--seed"),
        ("train --data x --out y --preset papr", "paper"),
        ("generate --model perov-5 --num 4 --out x --sampler dimm", "ddim"),
    ],
)
def test_did_you_mean(words, meant, capsys):
    assert f"did you mean {meant}?" in refused(capsys, *words.split())


def test_a_misspelt_flag_is_named_also_where_another_is_missing(capsys):
    said = refused(capsys, *"generate --model perov-5 --nmu 4 --out x".split())
    assert "required: --num; --nmu is not known; did you mean --num?" in said
    assert "is not known" not in refused(capsys, *"generate --model perov-5 --num 4 --out x --sede 3".split())


def test_predict_takes_its_formula_as_a_word_or_as_a_flag(capsys):
    "As `generate --formula` does; one of them, and one alone."
    asked = [("TiO2", "--out", "x"), ("--out", "x", "TiO2"), ("--formula", "TiO2", "--out", "x")]
    assert [parser().parse_args(["predict", *words]).formula for words in asked] == ["TiO2"] * 3
    assert "one of the arguments formula --formula is required" in refused(capsys, "predict", "--out", "x")
    both = ("predict", "TiO2", "--formula", "TiO2", "--out", "x")
    assert "argument --formula: not allowed with argument formula" in refused(capsys, *both)


def test_one_crystal_is_not_1_crystals(tmp_path, capsys):
    "From reading to the page of an evaluation."
    data, new, cache = tmp_path / "NaCl.cif", tmp_path / "new", tmp_path / "cache"
    toy("NaCl").to_structures()[0].to(filename=str(data))
    words = ("--model", "perov_mini", "--num", 1, "--steps", 1, "--relax", 1, "--calculator", "emt")
    jobs = [
        ("data", data, "--out", cache, "--workers", 1),
        ("generate", *words, "--workers", 1, "--out", new),
        ("evaluate", new, "--quick", "--baselines", "none", "--workers", 1),
        ("export", new, "--to", tmp_path / "new.extxyz"),
    ]
    for job in jobs:
        assert main([str(w) for w in job]) == 0
    said = "".join(capsys.readouterr())
    page = re.sub(r"<[^>]*>", " ", (tmp_path / "new_evaluation" / "report.html").read_text())
    assert "1 crystal generated" in said and "1 crystal in" in said and "1 crystal " in page
    for text in (said, page):
        assert not re.findall(r"(?<![\d.,] )(?<![\d.,])1 [a-z]+s\b(?! is| has)", text)


def test_nothing_is_suggested_where_nothing_is_close(capsys):
    assert "did you mean" not in refused(capsys, "xyzzy")


def test_mistakes_are_found_at_once():
    "In under 2 seconds, and without importing torch."
    code = f"{PROGRAM.split(';')[0]}; import dpcdvae.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert shell("train", "--dta", "perov_mini", "--out", "x").returncode == 2
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2


@pytest.mark.parametrize(
    "words,said",
    [
        ("reconstruct --model perov5 --data perov_mini --out x", "did you mean perov-5?"),
        ("generate --model runs/none --num 4 --out x", "none of the pretrained models"),
        ("train --data perov_minni --out x", "did you mean perov_mini?"),
        ("evaluate nbs --reference no/such", "check the path"),
    ],
)
def test_misspelt_names_are_found_without_torch(words, said):
    call = f"main({words.split()}); sys.exit('torch' in sys.modules)"
    code = f"import sys; from dpcdvae.cli.app import main; {call}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and said in done.stderr, done.stderr


def test_old_flags_work_and_say_their_new_name(capsys):
    words = "reconstruct --model m --data d --out o --tries 3 --arrange 8 --force num_atoms,lattice".split()
    a = parser().parse_args(words)
    assert (a.num_candidates, a.swap_species, a.force) == (3, 8, ("num_atoms", "lattice"))
    said = capsys.readouterr().err
    assert "--tries is now --candidates" in said and "--arrange is now --swaps" in said
    assert "--force is now --condition" in said
    again = "reconstruct --model m --data d --out o --candidates 3 --swaps 8 --condition lattice".split()
    assert parser().parse_args(again).force == ("lattice",) and not capsys.readouterr().err


def test_only_a_reconstruction_accepts_a_candidate(capsys):
    words = "--model perov_mini --out out --candidates 4 --accept 3".split()
    assert parser().parse_args(["reconstruct", "--data", "perov_mini", *words]).accept == 3
    with pytest.raises(SystemExit):
        parser().parse_args(["generate", "--num", "1", *words])
    assert "no argument --accept" in capsys.readouterr().err


def test_json_is_all_there_is_on_stdout(capsys):
    assert main(["models", "--json"]) == 0
    assert {m["model"] for m in json.loads(capsys.readouterr().out)["models"]} >= {"perov-5", "mp-20"}
    assert main(["models", "--quiet"]) == 0 and capsys.readouterr().out == ""


def test_a_closed_pipe_is_silent(tmp_path):
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    code = PROGRAM.replace("import sys;", "import sys, time; time.sleep(0.5);")
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.wait(60) == 1 and process.stderr.read() == ""


def test_tab_completes(tmp_path):
    line = "dpcdvae generate --sam"
    env = dict(_ARGCOMPLETE="1", COMP_LINE=line, COMP_POINT=str(len(line)), COMP_TYPE="9")
    env |= dict(_ARGCOMPLETE_STDOUT_FILENAME=str(tmp_path / "out"), _ARGCOMPLETE_IFS="\n")
    shell(env=env)
    assert (tmp_path / "out").read_text().strip() == "--sampler"
    assert "PYTHON_ARGCOMPLETE_OK" in (ROOT / "dpcdvae/cli/app.py").read_text()[:1024]


def test_overwrite_removes_a_job_and_nothing_else(tmp_path, capsys):
    words = ["generate", "--model", "perov_mini", "--steps", "1", "--out", str(tmp_path), "--num", "2"]
    (tmp_path / "crystals.csv").write_text("mine")
    assert main([*words, "--overwrite"]) == 2 and "not the folder of a job" in capsys.readouterr().err
    (tmp_path / "crystals.csv").unlink()
    (tmp_path / "notes.txt").write_text("mine")
    assert main(words) == 0 and main([*words, "--seed", "1"]) == 2
    (tmp_path / "energies.csv").write_text("of the crystals that go")
    assert main([*words, "--seed", "1", "--overwrite"]) == 0 and not (tmp_path / "energies.csv").exists()
    assert json.loads((tmp_path / "run.json").read_text())["seed"] == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert main([*words, "--seed", "1", "--overwrite", "--share", "0/2"]) == 2


def test_a_larger_number_adds(tmp_path, capsys):
    words = ["generate", "--model", "perov_mini", "--steps", "1", "--seed", "2"]
    assert main([*words, "--out", str(tmp_path / "grown"), "--num", "2"]) == 0
    assert main([*words, "--out", str(tmp_path / "grown"), "--num", "4"]) == 0
    assert main([*words, "--out", str(tmp_path / "whole"), "--num", "4"]) == 0
    assert "4 crystals" in capsys.readouterr().out
    grown, whole = ((tmp_path / n / "crystals.csv").read_text() for n in ("grown", "whole"))
    assert grown == whole


def test_rows_are_written_while_a_job_runs(tmp_path, monkeypatch):
    "After every 64 crystals on a processor, not at the end; processes that share a job keep their blocks."
    from dpcdvae.cli.commands import block_of

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ("generate", "--model", "perov_mini", "--num", "200", "--out", str(tmp_path))
    asked = parser().parse_args(words)
    assert block_of(asked) == 64 and block_of(parser().parse_args([*words, "--share", "0/2"])) == 256
    (tmp_path / "parts").mkdir()
    assert block_of(asked) == 256
    (tmp_path / "parts").rmdir()
    seen = []
    rows = "dpcdvae.generation.jobs.rows_of"
    from dpcdvae.generation.jobs import rows_of

    monkeypatch.setattr(rows, lambda made, *more: seen.append(len(made)) or rows_of(made, *more))
    assert main([*words, "--steps", "1"]) == 0
    assert seen == [64, 64, 64, 8]


def test_predict_lets_known_crystals_in(tmp_path, capsys):
    "Known crystals of the same anonymous formula are candidates; what cannot be joined is refused."
    known = tmp_path / "known.cif"
    known.write_text(toy("NaCl").to_structures()[0].to(fmt="cif"))
    words = f"predict CuAu --num 1 --steps 2 --max-steps 30 --calculator emt --out {tmp_path / 'out'}"
    assert main([*words.split(), "--known", str(known), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = {r["material_id"] for r in found["ranked"]}
    assert found["candidates"] == 2 and found["structures"] == len(names)
    rows = list(csv.DictReader((tmp_path / "out" / "known" / "crystals.csv").open()))
    assert (
        [r["material_id"] for r in rows] == ["known-0"]
        and "Cu" in rows[0]["cif"]
        and "Na" not in rows[0]["cif"]
    )
    assert main([*words.split(), "--known", str(known), "--space-group", "221"]) == 2
    assert "keep their own space groups" in capsys.readouterr().err
    alone = words.replace("CuAu", "Cu3Au").replace("/out", "/alone")
    assert main([*alone.split(), "--known", str(known)]) == 0
    assert "no crystal of the same anonymous formula" in capsys.readouterr().err
