"""The words of an older dialect that must not come back, and the field's words for the same things."""

import json
import re
from pathlib import Path

INSTEAD = {  # pattern -> what the field calls it
    r"noise (?:with|has) an address|address_(?:normal|uniform)|\bDraws\b": "counter-based RNG",
    r"\bCamera\b|\bFilm\b|\bFilmError\b|\bGrowing\b": "TrajectoryRecorder, Trajectory, StreamingTrajectory",
    r"\bCALLS\b|\bnetwork calls?\b|\bcalls of the network\b|\bcarry_on\b": "NFE, function evaluations",
    r"\bbegins on the way\b|\bsteps that (?:remember|look twice)\b": "partial denoising, multistep, Heun",
    r"\bshort[- ]paths?\b": "skip connection",
    r"\bSurroundings\b|\bsurroundings\b|\bRoles\b|\bPairRoles\b|\bspread_distances\b": "local environment",
    r"\bPlaces\b|\bReadback\b|\bexchang(?:e|es|ed|ing) atoms\b|\batoms (?:are )?exchanged\b": "swap moves",
    r"\bSlimAtoms\b|\bWideAtoms\b|\bsnr_clock\b|\bis told\b|\bare told\b|\btold\b": "condition, time_input",
    r"\b[Bb]eside\b": "next to, together with, in addition to",
    r"\blearnt by heart\b|\bheaps\b|\bcoin's toss\b|\bon a hair\b": "memorised, modes, chance level",
    r"\bmisfit\b|\bAPART\b": "neg_log_posterior, SEED_STRIDE",
    r"\bKeeper\b|\bleave_out\b|\bhold_memory\b": "CheckpointCallback, drop_nonfinite, tune_malloc",
    r"\bfind_ground\b|\bleash\b": "fit_support, trust region",
    r"\b[Jj]udg(?:e|es|ed|ing)\b|\b[Jj]udge?ments?\b|\bjudge_\w+": "evaluate",
    r"\bmetre\b|\b[Vv]erdicts?\b": "METRe, result",
    r"\bat rest\b|\b(?:go|comes?) (?:until they|to) rest\b|\bset free\b": "relaxed, converged, released",
    r"\bin the box\b|\bof the box\b|\binto the box\b|\b[Ss]hipped\b": "pretrained models",
    r"\brooms\b|\brooms? of the house\b|\b[Tt]wo faces\b": "modules, architecture",
    r"\b[Tt]he truth\b": "target, conditioning",
    r"\bto the metal\b|\bwhat is predicted is how times are weighed\b": "prediction target, loss weighting",
}
FOREIGN = re.compile("|".join(f"(?:{p})" for p in INSTEAD))
EXEMPT = ("tests/words.py", "tests/test_ratchet.py")


def texts(path: Path) -> list[str]:
    "Everything of a file that a person reads: code, prose, outputs."
    if path.suffix != ".ipynb":
        return [path.read_text(encoding="utf-8")]
    found = []
    for c in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        found.append("".join(c["source"]))
        for o in c.get("outputs", []):
            data = o.get("data", {})
            found += [
                "".join(o.get("text", "")),
                *("".join(data.get(k, "")) for k in ("text/plain", "text/markdown")),
            ]
    return found


def readable(root: Path) -> dict[str, list[str]]:  # folder or page -> texts
    "Collect what is read in a checkout, folder by folder."
    where, found = ("nbs", "tests", "benchmarks", "docs", "data", "share", "results"), {}
    files = [
        p for d in where for p in sorted((root / d).rglob("*")) if p.suffix in (".ipynb", ".py", ".md", ".sh")
    ]
    files += [root / f for f in ("README.md", "CONTRIBUTING.md", "Makefile", "dpcdvae/__init__.py")]
    for p in files:
        name = p.relative_to(root).as_posix()
        if "checkpoints" not in name and "/runs/" not in name and name not in EXEMPT:
            folder = name.rsplit("/", 1)[0] if "/" in name and not name.startswith("tests/") else name
            found.setdefault(folder, []).extend(texts(p))
    return found
