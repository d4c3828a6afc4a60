"Several modules under one name, for tests that replace a function wherever it is used."

from importlib import import_module

GROUPS = {  # what was one module once, and is tested as one
    "bench": "benchmarks: studies energies steering anatomy player labs page __main__",
    "data": "dpcdvae.data: files cell cif_blocks cif_symmetry cif parsers listing rows cache datasets"
    " scaler loader composition",
    "measures": "dpcdvae.evaluation: statistics validity entries parallel compare",
    "summaries": "dpcdvae.evaluation: metrics summary reconstruction generation report evaluate",
    "fingerprints": "dpcdvae.evaluation: fingerprints coverage",
    "matching": "dpcdvae.evaluation: niggli reduction mapping matching",
    "generation": "dpcdvae.generation: decode best_of jobs generate",
    "training": "dpcdvae.model: checkpoint module training",
}


class Modules:
    "Read a name from the first module that has it; set it in every module that has it."

    def __init__(self, *names):
        self.__dict__["modules"] = [import_module(n) for n in names]
        self.__dict__["originals"] = {}

    def __getattr__(self, name):
        for m in self.modules:
            if hasattr(m, name):
                return getattr(m, name)
        raise AttributeError(f"none of {[m.__name__ for m in self.modules]} has {name}")

    def __setattr__(self, name, value):
        for m in self.modules:
            if hasattr(m, name):
                self.originals.setdefault((m, name), getattr(m, name))
                setattr(m, name, value)

    def __delattr__(self, name):
        "Put back what was replaced: how monkeypatch undoes its work on a name that is not the object's own."
        for m in self.modules:
            if (m, name) in self.originals:
                setattr(m, name, self.originals.pop((m, name)))


def group(name) -> Modules:
    "The modules of a named group."
    folder, names = GROUPS[name].split(": ")
    return Modules(*(f"{folder}.{n}" for n in names.split()))
