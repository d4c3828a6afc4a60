"Several modules under one name, for tests that replace a function wherever it is used."

from importlib import import_module


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
