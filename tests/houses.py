"How the package is read: modules and their places, imports, circles. For tests and for `python -m benchmarks house`."

from benchmarks.house import (
    ROOT,
    Import,
    cell_text,
    circles,
    exports,
    imports,
    modules,
    notebooks,
    read_cells,
)

__all__ = [
    "ROOT",
    "Import",
    "cell_text",
    "circles",
    "exports",
    "imports",
    "modules",
    "notebooks",
    "read_cells",
]
