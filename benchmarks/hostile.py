"""Broken inputs, made by a seeded program, through every command that reads crystals.

    python -m benchmarks.hostile --out results/hostile.json [--num 1000] [--seed 0]

Each input is made of good crystals and one that is damaged: cut, doubled, swapped, renamed, huge, empty, NaN,
negative, or with random bytes. It must never end in a traceback, never cost a good row, and never leave an
output half-written."""

import argparse
import contextlib
import csv
import io
import json
import os
import re
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write

ELEMENTS = ("Cu", "Al", "Ni", "Pd", "Ag", "Au", "Pt")  # those of ASE's EMT
DAMAGES = (
    "cut",
    "doubled",
    "swapped",
    "renamed",
    "huge",
    "empty",
    "nan",
    "negative",
    "bytes",
    "line",
    "quote",
)
CONTAINERS = ("cif", "csv", "json", "jsonl", "zip", "folder", "extxyz", "poscar", "whole")
COMMANDS = ("load_crystals", "data", "evaluate", "relax")
GOOD = 3  # crystals next to the damaged one


def crystal(rng):
    "Make a small crystal of metals."
    from pymatgen.core import Lattice, Structure

    a, b = rng.choice(ELEMENTS, 2, replace=False)
    cell = Lattice.from_parameters(*rng.uniform(2.9, 3.3, 3), *rng.uniform(85, 95, 3))
    return Structure(cell, [a, b], [[0, 0, 0], rng.uniform(0.45, 0.55, 3)])


def text_of(structure, kind: str) -> str:
    "Write a crystal as the text that a container of a kind holds."
    if kind in ("extxyz", "poscar"):
        from dpcdvae.evaluation.export import extxyz_text, poscar_text

        row = dict(structure=structure, material_id="x", index=0)
        return poscar_text(structure) if kind == "poscar" else extxyz_text([row])
    return structure.to(fmt="cif")


def damage(text: str, how: str, rng) -> str:
    "Damage a text."
    lines = text.splitlines()
    at = int(rng.integers(len(lines)))
    numbers = [m.span() for m in re.finditer(r"-?\d+\.\d+", text)]
    a, b = numbers[int(rng.integers(len(numbers)))]
    if how == "cut":
        return text[: int(rng.integers(len(text)))]
    if how == "doubled":
        return "\n".join(lines[: at + 1] + lines[at:]) + "\n"
    if how == "swapped":
        other = int(rng.integers(len(lines)))
        lines[at], lines[other] = lines[other], lines[at]
        return "\n".join(lines) + "\n"
    if how == "renamed":
        words = re.findall(r"[A-Za-z_]{2,}", text)
        return text.replace(str(rng.choice(words)), "Renamed", int(rng.integers(1, 4)))
    if how == "line":
        return "\n".join(lines[:at] + lines[at + 1 :]) + "\n"
    if how == "bytes":
        junk = bytes(rng.integers(0, 256, 12, dtype=np.uint8)).decode("latin-1")
        k = int(rng.integers(len(text)))
        return text[:k] + junk + text[k:]
    if how == "quote":
        k = int(rng.integers(len(text)))
        return text[:k] + str(rng.choice(["'", '"', ";", "\n;", "loop_", "data_", "#", "["])) + text[k:]
    word = dict(
        huge="9" * int(rng.integers(5, 400)), empty="", nan=str(rng.choice(["nan", "inf", "-inf", "?", "."]))
    )
    return (
        text[:a] + word.get(how, "-" + text[a:b].lstrip("-")) + text[b:]
        if how != "empty" or rng.random() < 0.7
        else ""
    )


def write_input(folder: Path, kind: str, how: str, rng) -> tuple[Path, set]:  # path, ids that must be read
    "Write one hostile input."
    inner = kind if kind in ("extxyz", "poscar") else "cif"
    texts = [text_of(crystal(rng), inner) for _ in range(GOOD + 1)]
    bad = int(rng.integers(GOOD + 1))
    if kind == "whole":
        return write_whole(folder, texts, how, rng), set()
    if kind == "extxyz":
        texts = [t.replace("material_id=x", f"material_id=c{k}") for k, t in enumerate(texts)]
    texts[bad] = damage(texts[bad], how, rng)
    names = [f"c{k}" for k in range(GOOD + 1)]
    path = write_container(folder, kind, names, texts, bad)
    return path, set() if kind in ("cif", "poscar") else {n for k, n in enumerate(names) if k != bad}


def write_container(folder: Path, kind: str, names: list, texts: list, bad: int) -> Path:
    "Write texts as a file or folder of a kind."
    path = folder / f"x.{kind}"
    if kind == "csv":
        with open(path, "w", newline="", encoding="utf-8", errors="replace") as f:
            csv.writer(f).writerows(
                [("material_id", "cif", "gap"), *((n, t, k) for k, (n, t) in enumerate(zip(names, texts)))]
            )
    elif kind == "json":
        path.write_text(json.dumps([dict(material_id=n, cif=t) for n, t in zip(names, texts)]))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(dict(material_id=n, cif=t)) for n, t in zip(names, texts)))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as z:
            for n, t in zip(names, texts):
                z.writestr(f"deep/{n}.cif", t.encode("utf-8", "replace"))
    elif kind == "extxyz":
        path.write_text("".join(t if t.endswith("\n") else t + "\n" for t in texts), encoding="utf-8")
    elif kind == "folder":
        path = folder / "x"
        path.mkdir()
        for n, t in zip(names, texts):
            (path / f"{n}.cif").write_text(t, encoding="utf-8")
    else:
        path = folder / ("POSCAR" if kind == "poscar" else "x.cif")
        path.write_text(texts[bad], encoding="utf-8")
    return path


def write_whole(folder: Path, texts: list, how: str, rng) -> Path:
    "Damage a whole file: a table, an archive, a document."
    kind = str(rng.choice(["csv", "json", "jsonl", "zip", "extxyz"]))
    if kind == "extxyz":
        return write_bytes(folder / "x.extxyz", damage("".join(texts), how, rng).encode())
    path = write_container(folder, kind, [f"c{k}" for k in range(len(texts))], texts, 0)
    data = path.read_bytes()
    if kind != "zip":
        return write_bytes(path, damage(data.decode(), how, rng).encode())
    a, b = np.sort(rng.integers(0, len(data), 2))
    return write_bytes(path, dict(cut=data[:a], empty=b"", doubled=data + data).get(how, data[:a] + data[b:]))


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def run(
    command: str, path: Path, out: Path
) -> tuple[int, str, set | None]:  # exit code, stderr, ids that were read
    "Run one command in this process; -1 where an exception escapes."
    from dpcdvae.cli.app import main
    from dpcdvae.data.datasets import load_crystals
    from dpcdvae.data.files import DataError

    err = io.StringIO()
    with (
        contextlib.redirect_stderr(err),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            if command == "load_crystals":
                try:
                    return 0, "", set(load_crystals(path, cache=False, workers=1, progress=False).ids)
                except DataError as e:
                    return 2, str(e), None
            more = dict(
                data=["--out", str(out)],
                evaluate=["--quick", "--out", str(out), "--timeout", "20"],
                relax=["--calculator", "emt", "--max-steps", "1", "--timeout", "20"],
            )[command]
            code = main([command, str(path), *more, "--workers", "1"])
        except BaseException as e:  # what escapes is what is looked for
            return -1, f"{type(e).__name__}: {e}", None
    return code, err.getvalue(), ids_of(command, path, out) if code == 0 else None


def ids_of(command: str, path: Path, out: Path) -> set:
    "Read which crystals came through a command."
    from dpcdvae.data.cache import open_crystals

    if command == "data":
        return set(open_crystals(out / "all.safetensors")[0].ids)
    name = "per_crystal.csv" if command == "evaluate" else "relaxed.csv"
    with open((out if command == "evaluate" else home_of(path)) / name, newline="") as f:
        rows = list(csv.DictReader(f))
    key = "formula" if command == "evaluate" else "energy"
    return {r["material_id"] for r in rows if r.get(key)}


def home_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


WHOLE = dict(
    data={"all.safetensors", "rejected.csv"},
    evaluate={"metrics.json", "per_crystal.csv", "report.html"},
    relax={"relaxed.csv", "energies.json"},
)


def faults(command: str, path: Path, out: Path, must: set, result: tuple) -> list[str]:
    "Name what went wrong with one command."
    code, said, ids = result
    found = []
    if code not in (0, 2) or "Traceback" in said:
        found.append("traceback")
    if code == 2 and re.search(r"\b[A-Z]\w+(Error|Exception)\b", said):
        found.append("exception named")
    if must and (ids is None or not must <= ids):
        found.append("good row lost")
    places = [p for p in {out, home_of(path)} if p.is_dir()]
    left = {p.name for place in places for p in place.iterdir()}
    if any(n.endswith(".part") for n in left) or 0 < len(WHOLE.get(command, set()) & left) < len(
        WHOLE.get(command, set())
    ):
        found.append("half-written")
    return found


def campaign(num: int, seed: int) -> dict:
    "Make hostile inputs, run every command on each, count."
    counts, bad, begin = {c: Counter() for c in COMMANDS}, [], time.time()
    kinds = Counter()
    os.environ["DPCDVAE_CACHE"] = tempfile.mkdtemp()  # what an earlier program has cached is not asked
    for k in range(num):
        rng = np.random.default_rng([seed, k])
        kind, how = CONTAINERS[k % len(CONTAINERS)], DAMAGES[(k // len(CONTAINERS)) % len(DAMAGES)]
        kinds[f"{kind}, {how}"] += 1
        with tempfile.TemporaryDirectory() as folder:
            path, must = write_input(Path(folder), kind, how, rng)
            for command in COMMANDS:
                out = Path(folder) / f"out_{command}"
                result = run(command, path, out)
                wrong = faults(command, path, out, must, result)
                counts[command][{0: "read", 2: "refused"}.get(result[0], "escaped")] += 1
                counts[command].update(wrong)
                bad += [
                    dict(input=k, kind=kind, damage=how, command=command, fault=w, said=result[1][-300:])
                    for w in wrong
                ]
    return dict(
        inputs=num,
        seed=seed,
        damages=list(DAMAGES),
        containers=list(CONTAINERS),
        combinations=len(kinds),
        commands={c: dict(sorted(v.items())) for c, v in counts.items()},
        faults=bad[:50],
        seconds=round(time.time() - begin, 1),
        made_on=circumstances(),
    )


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--num", type=int, default=1000)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path)
    a = p.parse_args()
    os.environ["SPGLIB_WARNING"] = "OFF"
    found = campaign(a.num, a.seed)
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    if a.out:
        atomic_write(a.out, text)
