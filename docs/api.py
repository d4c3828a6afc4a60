"Signatures, arguments and docstrings of what a cell defines, read from its source: nothing is imported."

import ast
import io
import re
import tokenize
from html import escape
from typing import NamedTuple


class Argument(NamedTuple):
    "One argument of a function, or one field of a class."

    name: str
    annotation: str
    default: str
    comment: str


class Definition(NamedTuple):
    "A function or class that a cell exports."

    name: str
    kind: str  # function or class
    doc: str
    arguments: list[Argument]
    returns: str
    returns_comment: str
    methods: list["Definition"]


def comments(source: str) -> dict[int, str]:  # line -> comment
    "Collect the comments of a source, by line."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def _text(node) -> str:
    return ast.unparse(node) if node is not None else ""


def arguments(f: ast.FunctionDef, notes: dict[int, str]) -> list[Argument]:
    "List the arguments of a function with what stands after them."
    a = f.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(plain) - len(a.defaults)) + list(a.defaults)
    named = list(zip(plain, defaults)) + list(zip(a.kwonlyargs, a.kw_defaults))
    found = [Argument(one.arg, _text(one.annotation), _text(d), note_of(one, notes)) for one, d in named]
    if a.vararg:
        found.insert(len(plain), Argument("*" + a.vararg.arg, _text(a.vararg.annotation), "", ""))
    if a.kwarg:
        found.append(Argument("**" + a.kwarg.arg, _text(a.kwarg.annotation), "", ""))
    return [one for one in found if one.name not in ("self", "cls")]


def note_of(node, notes: dict[int, str]) -> str:
    "Read the comment of an argument that has a line of its own."
    return notes.get(node.end_lineno, "")


def function(f: ast.FunctionDef, notes: dict[int, str]) -> Definition:
    "Describe a function; comments count where each argument has a line of its own."
    lines = [one.lineno for one in (*f.args.args, *f.args.kwonlyargs)]
    spread = len(set(lines)) == len(lines) and f.lineno not in lines
    mine = notes if spread else {}
    after = notes.get(f.returns.end_lineno, "") if f.returns is not None and f.body else ""
    doc = ast.get_docstring(f) or ""
    return Definition(f.name, "function", doc, arguments(f, mine), _text(f.returns), after, [])


def fields(c: ast.ClassDef, notes: dict[int, str]) -> list[Argument]:
    "List the fields of a dataclass or a named tuple."
    found = [n for n in c.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    return [Argument(n.target.id, _text(n.annotation), _text(n.value), note_of(n, notes)) for n in found]


def klass(c: ast.ClassDef, notes: dict[int, str]) -> Definition:
    "Describe a class: its fields or the arguments of its constructor, and its public methods."
    inner = [n for n in c.body if isinstance(n, ast.FunctionDef)]
    methods = [function(f, notes) for f in inner if not f.name.startswith("_")]
    start = [function(f, notes).arguments for f in inner if f.name == "__init__"]
    given = start[0] if start else fields(c, notes)
    return Definition(c.name, "class", ast.get_docstring(c) or "", given, "", "", methods)


def definitions(source: str) -> list[Definition]:
    "Describe the public functions and classes that a cell defines."
    notes = comments(source)
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found.append(function(node, notes))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found.append(klass(node, notes))
    return found


def signature(d: Definition) -> str:
    "Write a signature on one line, types left to the table."
    names = [one.name + (f"={one.default}" if one.default else "") for one in d.arguments]
    arrow = f" -> {d.returns}" if d.returns else ""
    return f"{d.name}({', '.join(names)}){arrow}"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else ""


def inline(text: str) -> str:  # HTML
    "Escape a line and set what stands in backticks as code."
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def table(d: Definition) -> str:  # HTML
    "Lay out arguments and result of a function; columns that would be empty are left out."
    rows = [(_code(a.name), _code(a.annotation), _code(a.default), inline(a.comment)) for a in d.arguments]
    if d.returns:
        rows.append(("returns", _code(d.returns), "", inline(d.returns_comment)))
    keep = [i for i in range(4) if any(r[i] for r in rows)]
    if keep in ([], [0]):
        return ""  # the signature has said it all
    return grid([("argument", "type", "default", "what it is"), *rows], keep)


def grid(rows: list[tuple], keep: list[int], kind: str = "dp-args") -> str:  # HTML
    "Lay out rows, the first of which is the head."
    lines = [
        f"<tr>{''.join(f'<{tag}>{row[i]}</{tag}>' for i in keep)}</tr>"
        for tag, row in zip(["th"] + ["td"] * len(rows), rows)
    ]
    return f"<div class=dp-table><table class={kind}>{''.join(lines)}</table></div>"


def methods(d: Definition) -> str:  # HTML
    "Lay out the public methods of a class, a line each."
    rows = [(_code(signature(m)), inline(m.doc.split("\n")[0])) for m in d.methods]
    return grid([("method", "what it does"), *rows], [0, 1], "dp-methods") if rows else ""


def card(d: Definition, link: str) -> str:  # HTML
    "Lay out one definition: signature, link to its source, docstring, arguments, methods."
    doc = "".join(f"<p>{inline(p)}</p>" for p in re.split(r"\n\s*\n", d.doc) if p)
    top = f"<div class=dp-sig><code>{escape(signature(d))}</code><a href='{link}'>source</a></div>"
    return f"<div class=dp-card>{top}{doc}{table(d)}{methods(d)}</div>"
