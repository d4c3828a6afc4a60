"The course: checks name typical mistakes and accept what is right; lessons run as student and as teacher."

import contextlib
import io
import itertools
import json
import math
import re
import sys
import time
from importlib import import_module

import numpy as np
import pytest
import torch

from benchmarks.house import ROOT, exports
from benchmarks.pictures import PLOTLY, PNG, figure_outputs, is_fresh
from dpcdvae.course.checks import EXERCISES, check, mark, mine_or
from dpcdvae.course.grading import (
    exercise_name,
    grade_page,
    main,
    marks_of,
    run_cells,
    solutions,
    with_solutions,
)

COURSE = ROOT / "nbs/course"
LESSONS = sorted(p for p in COURSE.glob("0*.ipynb") if not exports(p))
BOOKS = dict(argvalues=LESSONS, ids=lambda p: p.stem)


def registered() -> dict:
    "The exercises of all chapters."
    for path in COURSE.glob("1*_exercises_*.ipynb"):
        import_module(f"dpcdvae.{exports(path)}")
    return EXERCISES


NAMES = sorted(registered())


@pytest.mark.parametrize("name", NAMES)
def test_a_check_names_typical_mistakes_and_accepts_two_right_answers(name):
    one = EXERCISES[name]
    assert len(one.mistakes) >= 3
    for right in (one.reference, one.other):
        assert mark(name, right).state == "right", mark(name, right)
    for hint, mistake in one.mistakes.items():
        found = mark(name, mistake)
        assert (found.state, found.text) == ("wrong", hint), found


def exercises_of(path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return [n for n in map(exercise_name, cells) if n]


@pytest.mark.parametrize("path", **BOOKS)
def test_a_lesson_runs_as_the_student_gets_it(path):
    start = time.process_time()
    _, text = run_cells(json.loads(path.read_text()))
    for name in exercises_of(path):
        assert f"… {name}: not yet" in text, text[-2000:]
    assert "✗" not in text and "✓" not in text
    assert time.process_time() - start < 60, "a lesson takes under a minute"


@pytest.mark.parametrize("path", **BOOKS)
def test_a_lesson_runs_with_its_solutions(path):
    _, text = run_cells(with_solutions(path))
    for name in exercises_of(path):
        assert f"✓ {name}: right" in text, text[-2000:]
    assert "✗" not in text and "not yet" not in text


def test_every_exercise_of_a_lesson_is_registered_and_stands_there_once():
    named = [n for path in LESSONS for n in exercises_of(path)]
    assert len(named) == len(set(named)) and set(named) <= set(NAMES)
    for path in LESSONS:
        assert 4 <= len(solutions(path)) <= 8, path.name


@contextlib.contextmanager
def nothing_registered():
    "Forget all exercises and their modules for a while."
    kept, modules = dict(EXERCISES), {k: m for k, m in sys.modules.items() if "course.exercises_" in k}
    EXERCISES.clear()
    for name in modules:
        del sys.modules[name]
    try:
        yield
    finally:
        EXERCISES.clear()
        EXERCISES.update(kept)
        sys.modules.update(modules)


@pytest.mark.parametrize("path", **BOOKS)
def test_a_lesson_registers_its_exercises_without_help(path):
    code = "\n".join(
        "".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"
    )
    with nothing_registered():
        for module in set(re.findall(r"from (dpcdvae\.course\.exercises_\w+) import", code)):
            import_module(module)
        assert set(exercises_of(path)) <= set(EXERCISES)


EXPLORERS = ("02_noise", "06_vae", "07_dpcdvae", "08_judging")


@pytest.mark.parametrize("path", **BOOKS)
def test_a_lesson_has_its_parts(path):
    book = json.loads(path.read_text())
    text = "\n".join("".join(c["source"]) for c in book["cells"] if c["cell_type"] == "markdown")
    parts = "**Aims.** **What.is.needed.** minutes redict <dfn> ##.Summary ##.Further.reading arXiv".split()
    assert [p for p in parts if p.replace(".", " ") not in text.replace(".", " ")] == []
    prose = re.sub(r"```.*?```|\$\$.*?\$\$", "", text, flags=re.S)  # without code and displayed formulas
    assert 2000 <= len(prose.split()) <= 4000, f"{len(prose.split())} words"
    drawn = figure_outputs(book)
    assert len(drawn) >= 3
    assert all(map(is_fresh, drawn)), "a figure without its picture: make pictures"
    live = [
        o["data"]
        for c in book["cells"]
        for o in c.get("outputs", [])
        if "widget-view" in str(o.get("data", {}).keys())
    ]
    assert all(PNG in data and PLOTLY not in data for data in live), "an explorer needs a still picture"
    assert live or path.stem not in EXPLORERS


def test_results_are_found_from_a_copy_of_a_lesson(tmp_path, monkeypatch):
    from dpcdvae.course.exercises_7_8 import stored_result

    monkeypatch.chdir(tmp_path)
    assert stored_result("strict")["name"] == "strict"
    with pytest.raises(ValueError, match="no results/nothing.json"):
        stored_result("nothing")


def test_the_course_is_whole():
    assert [p.stem[:2] for p in LESSONS] == [f"{i:02}" for i in range(1, 9)]


@pytest.mark.parametrize(
    "function, part",
    [
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: x[None], "shape is"),
        (lambda x: x.sub_(x.floor()), "in place"),
        (lambda x: -(x - x.floor()), "sign"),
        (lambda x: 2 * (x - x.floor()), "2 times"),
        (lambda x: x - x.floor() + 0.5, "+0.5"),
        (lambda x: object(), "object"),
        (lambda: 1, "TypeError"),
        (lambda x: x * float("nan"), "nan"),
        (lambda x: x - x.floor() if x.numel() > 3 else None, "return"),
        (lambda x: x - math.floor(x), "torch.exp"),
        (lambda x: list(x - x.floor())[:-1], "shape"),
        (lambda x: (x - x.floor()).T.contiguous() if x.shape == (3, 3) else x - x.floor(), "transposed"),
        (lambda x: torch.rand_like(x), "changes from call to call"),
        (lambda x: x - x.floor() + x.new_ones(4, 1), "n[:, None]"),
        (lambda x: torch.autograd.grad(x.sum(), x)[0], "requires_grad_()"),
        (3, "itself"),
    ],
)
def test_hints_for_what_no_list_foresees(function, part):
    found = mark("wrap", function)
    assert found.state == "wrong" and part in found.text, found
    assert mark("wrap", lambda x: None).state == mark("wrap", lambda x: ...).state == "not yet"
    assert mark("no_such", function).state == "wrong"


def neutral_by_atoms(states, counts):
    atoms = [options for options, n in zip(states, counts) for _ in range(n)]
    return any(sum(some) == 0 for some in itertools.product(*atoms))


def mixture_of_neighbours(x, energy, phases):
    near = sorted(phases, key=lambda p: p[0])
    for (a, e), (b, f) in zip(near, near[1:]):
        if a <= x <= b:
            return energy - e - (f - e) * (x - a) / (b - a)


def nearest_image_density(x, sigma):
    return ((x - x.round()) ** 2 / (-2 * sigma**2)).exp() / (sigma * (2 * math.pi) ** 0.5)


@pytest.mark.parametrize(
    "name, function, part",
    [
        ("above_chance", lambda rate, chance: max(0.0, (rate - chance) / (1 - chance)), "cut off"),
        ("match_rate", lambda rms, stol: sum(r is not None and r <= stol for r in rms) / len(rms), "<."),
        ("match_rate", lambda rms, stol: sum(1 for r in rms if r and r < stol) / len(rms), "0.0"),
        ("minimum_image", lambda d: torch.where(d > 0.5, d - 1, d), "below -1/2"),
        ("equivariance_error", lambda f, x, r: (f(x @ r.T) - f(x) @ r.T).norm(dim=1).max(), "component"),
        ("equivariance_error", lambda f, x, r: (f(x @ r) - f(x) @ r).abs().max(), "inverse"),
        ("kl_to_prior", lambda m, v: ((m**2 + v.exp() ** 2 - 1 - v) / 2).sum(1), "do not square"),
        ("distortion", lambda x, n: -(n * x.softmax(0).log()).sum(1), "over the elements"),
        ("release_step", lambda x, e, a, s, w: (x - (1 - a) * e) / a**0.5 + s * w, "square root of 1"),
        ("above_hull", mixture_of_neighbours, "Try all pairs"),
        ("coverage", lambda d, c: [(d.amin(k) < c).double().mean() for k in (0, 1)], "<="),
        ("is_neutral", neutral_by_atoms, "mixed valence"),
        ("scale_lengths", lambda lengths, n: lengths / n[:, None] ** 1 / 3, "brackets"),
        ("wrapped_density", lambda x, s: nearest_image_density(x, s), "nearest image"),
        ("x0_from_eps", lambda x, e, a, t: ((x - (1 - a[t]) ** 0.5 * e) / a[t] ** 0.5) % 1, "do not wrap"),
        ("add_noise", lambda x, a, t, e: (a[t] ** 0.5 * x + (1 - a[t]) ** 0.5 * e) % 1, "do not wrap"),
    ],
)
def test_likely_mistakes_are_named(name, function, part):
    found = mark(name, function)
    assert found.state == "wrong" and part in found.text, found


def loop_over_atoms(frac, lattice):
    return [[sum(float(f[k]) * float(lattice[k, x]) for k in range(3)) for x in range(3)] for f in frac]


def distance_with_numpy(a, b, lattice):
    a, b, lattice = (np.asarray(v, dtype=float) for v in (a, b, lattice))
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    return np.linalg.norm((b - a - np.round(b - a) + shifts) @ lattice, axis=1).min()


def seats_one_by_one(p, n):
    counts = [int(x) for x in p * n]
    while sum(counts) < n:
        counts[max(range(len(p)), key=lambda i: float(p[i]) * n - counts[i])] += 1
    return counts


def wilson_by_numpy(count, total, z):
    p, q = count / total, z * z / total
    return np.sort(np.roots([1 + q, -(2 * p + q), p * p]).real)


def hull_by_pairs(x, energy, phases):
    pairs = [(p, q) for p in phases for q in phases if p[0] < q[0] and p[0] <= x <= q[0]]
    return energy - min(e + (f - e) * (x - a) / (b - a) for (a, e), (b, f) in pairs)


@pytest.mark.parametrize(
    "name, function",
    [
        ("to_cartesian", loop_over_atoms),
        ("wrap", lambda x: np.mod(x.numpy(), 1)),
        ("wrap", lambda x: list(x - x.floor())),
        (
            "minimum_image",
            lambda d: torch.atan2((2 * math.pi * d).sin(), (2 * math.pi * d).cos()) / 2 / math.pi,
        ),
        ("distance", distance_with_numpy),
        ("alpha_bar", lambda beta: [float((1 - beta[: t + 1]).prod()) for t in range(len(beta))]),
        ("log_snr", lambda a: 2 * torch.atanh(2 * a - 1)),
        ("order", lambda sigma: [math.exp(-2 * math.pi**2 * float(s) ** 2) for s in sigma]),
        ("time_grid", lambda T, n: [T - round(i * (T - 1) / (n - 1)) for i in range(n)] + [0]),
        ("time_grid", lambda T, n: np.append(np.linspace(T, 1, n).round(), 0)),
        ("time_grid", lambda T, n: [int(t + 0.5) for t in torch.linspace(T, 1, n)] + [0]),
        ("rotate_lattice", lambda lattice, rotation: [rotation @ row for row in lattice]),
        ("aggregate", lambda h, index, weight: torch.bmm(weight[:, None], h[index])[:, 0]),
        ("largest_remainder", seats_one_by_one),
        ("site_projection", lambda v, rotations: np.mean([r.numpy() @ v.numpy() for r in rotations], 0)),
        ("match_rate", lambda rms, stol: np.mean(np.array(rms, dtype=float) < stol)),
        ("wilson_interval", wilson_by_numpy),
        ("above_hull", hull_by_pairs),
    ],
)
def test_right_answers_in_another_style_are_accepted(name, function):
    assert mark(name, function).state == "right", mark(name, function)


SHIFTS = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)


def arctangent_of_a_ratio(x):
    angle = 2 * math.pi * x
    return (torch.atan(angle.sin().mean(0) / angle.cos().mean(0)) / (2 * math.pi)) % 1


def highest_quotient(p, n):
    counts = torch.zeros(len(p))
    for _ in range(n):
        counts[(p / (counts + 1)).argmax()] += 1
    return counts


@pytest.mark.parametrize(
    "name, function, part",
    [
        ("distance", lambda a, b, lattice: ((b - a + SHIFTS) @ lattice).norm(dim=1).min(), "minimum image"),
        ("circular_mean", arctangent_of_a_ratio, "atan2"),
        ("active_units", lambda mu, threshold: int((mu.var(0) > threshold).sum()), "correction=0"),
        ("largest_remainder", highest_quotient, "D'Hondt"),
        (
            "site_projection",
            lambda v, rotations: torch.einsum("j,gji->i", v, rotations) / len(rotations),
            "R v",
        ),
        ("is_neutral", lambda s, n: sum(np.dot(q, n) == 0 for q in itertools.product(*s)), "True or False"),
        ("heun_step", lambda x, f, a, b: x + (b - a) * f(x + (b - a) / 2 * f(x, a), (a + b) / 2), "midpoint"),
        ("log_snr", lambda a: torch.log2(a / (1 - a)), "base 2"),
        ("coverage", lambda d, c: ((d <= c).any(0), (d <= c).any(1)), "2 numbers"),
        ("match_rate", lambda rms, stol: sum(r < stol for r in rms) / len(rms), "is None"),
    ],
)
def test_wrong_answers_that_passed_or_were_not_named_once(name, function, part):
    found = mark(name, function)
    assert found.state == "wrong" and part in found.text, found


def test_two_values_that_differ_late_are_shown_with_more_digits():
    found = mark("log_snr", lambda a: torch.log(a / (1 - a)) + 0.0006 * (a < 0.1)).text
    mine, wanted = re.search(r"yours is (\S+), wanted is (\S+)", found).groups()
    assert mine != wanted, found


def test_an_unknown_mistake_names_the_first_wrong_component_with_four_digits():
    found = mark("simple_loss", lambda predict, *a: 0.123456789).text
    assert "the function guess" in found and "yours is 0.1235" in found and "0x" not in found, found
    found = mark("x0_from_eps", lambda xt, eps, a, t: xt.sin() * eps).text
    assert "component [0, 0] of yours is" in found and "..." not in found, found
    assert all(len(n.lstrip("0")) <= 4 for n in re.findall(r"[.](\d+)", found)), found


@pytest.fixture
def small(tmp_path):
    "A notebook with two exercises."
    cell = lambda text, kind="code": dict(cell_type=kind, source=text, outputs=[], metadata={}, id=text[:6])
    note = lambda text: cell(
        f"<details><summary>Solution</summary>\n\n```python\n{text}\n```\n\n</details>", "markdown"
    )
    book = dict(
        cells=[
            cell("from dpcdvae.course.exercises_1_2 import check"),
            cell("#| exercise: wrap\ndef f(x):\n    return x - x.trunc()"),
            cell('check("wrap", f)'),
            note("def f(x):\n    return x - x.floor()"),
            cell("#| exercise: order\ndef g(sigma):\n    ..."),
            cell('check("order", g)'),
            note("import math\ndef g(sigma):\n    return (-2 * (math.pi * sigma) ** 2).exp()"),
        ],
        metadata={},
        nbformat=4,
        nbformat_minor=5,
    )
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(book))
    return path


def test_solutions_and_marks(small, tmp_path):
    to = tmp_path / "b.ipynb"
    with contextlib.redirect_stdout(io.StringIO()):
        main(["solutions", str(small), "--to", str(to)])
    assert run_cells(json.loads(to.read_text()))[1].count("✓") == 2
    broken = tmp_path / "c.ipynb"
    broken.write_text("{}")
    page = grade_page([small, broken])
    assert "0 of 2 points" in page and "truncated" in page and "not yet" in page and "not graded" in page


def test_a_helper_before_the_answer_or_a_lambda_is_marked_as_the_answer(small):
    book = json.loads(small.read_text())
    book["cells"][1]["source"] = (
        "#| exercise: wrap\ndef h(x):\n    return x.floor()\ndef f(x):\n    return x - h(x)"
    )
    book["cells"][4]["source"] = (
        "#| exercise: order\nimport torch\ng = lambda s: torch.exp(-2 * torch.pi**2 * s**2)"
    )
    small.write_text(json.dumps(book))
    assert [m["state"] for m in marks_of(small)] == ["right", "right"]


def test_a_stub_without_a_solution_is_an_error(small):
    book = json.loads(small.read_text())
    small.write_text(json.dumps(book | dict(cells=book["cells"][:3])))
    with pytest.raises(ValueError, match="wrap has no solution"):
        solutions(small)


def test_every_term_of_a_lesson_is_in_the_glossary():
    glossary = (COURSE / "glossary.md").read_text()
    listed = {t.lower() for t in re.findall(r"^\*\*(.+?)\*\*", glossary, re.M)}
    for path in LESSONS:
        text = "\n".join("".join(c["source"]) for c in json.loads(path.read_text())["cells"])
        terms = {t.lower() for t in re.findall(r"<dfn>(.+?)</dfn>", text)}
        assert len(terms) >= 5, f"{path.name}: mark a term at its first use with <dfn>"
        assert terms <= listed, f"{path.name}: not in the glossary: {sorted(terms - listed)}"


def test_the_glossary_names_the_lesson_that_explains_a_term():
    lines = re.findall(r"^\*\*(.+?)\*\* (.+) \((\d)\)$", (COURSE / "glossary.md").read_text(), re.M)
    terms = [term.lower() for term, _, _ in lines]
    assert len(terms) >= 60 and len(terms) == len(set(terms))
    marked = {}
    for path in LESSONS:
        for term in re.findall(r"<dfn>(.+?)</dfn>", path.read_text()):
            marked.setdefault(term.lower(), path.stem[1])
    assert {t: n for t, _, n in lines if marked.get(t.lower(), n) != n} == {}
    assert [t for t in terms if t not in marked] == []


@pytest.mark.parametrize(
    "name, function, case, kind",
    [
        (
            "alpha_bar",
            lambda beta: torch.cumprod(1 - beta, 0).tolist(),
            (torch.full((3,), 0.1),),
            torch.Tensor,
        ),
        ("alpha_bar", lambda beta: (1 - beta).cumprod(0).numpy(), (torch.full((3,), 0.1),), torch.Tensor),
        ("time_grid", lambda T, n: torch.tensor(EXERCISES["time_grid"].reference(T, n)), (9, 3), list),
        (
            "match_rate",
            lambda r, s: torch.tensor(EXERCISES["match_rate"].other(r, s)),
            ([0.1, None], 0.5),
            float,
        ),
    ],
)
def test_a_right_answer_of_another_kind_serves_the_cells_below(name, function, case, kind, capsys):
    check(name, function)
    assert "right" in capsys.readouterr().out
    found = mine_or(function, None)(*case)
    assert type(found) is kind
    assert torch.as_tensor(found).tolist() == pytest.approx(torch.as_tensor(function(*case)).tolist())


def test_every_exercise_of_every_lesson_has_its_check_below_it():
    for path in LESSONS:
        cells = json.loads(path.read_text())["cells"]
        for here, below in zip(cells, cells[1:]):
            if name := exercise_name(here):
                assert "".join(below["source"]).startswith(f'check("{name}", '), f"{path.name}: {name}"
