"""Names of version 0.1, before the package had folders, go on working for one release.

`dpcdvae.train.train` is `dpcdvae.model.training.train`. `old_names.json` holds
old module -> old name -> new module[:new name]. An old module is made when it is imported; a name read from
it, or from a folder that has an old module's name, warns and comes from its new module."""

import json
import sys
import warnings
from functools import lru_cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

TOP = dict(Film="film")  # old name of the package itself -> the old module that has it


@lru_cache
def old_names() -> dict[str, dict[str, str]]:
    "Read which name of an old module lives where."
    return json.loads((Path(__file__).parent / "old_names.json").read_text(encoding="utf-8"))


def find(module: str, name: str):
    "Take an old name from its new place, with a warning."
    place = old_names().get(module, {}).get(name)
    if place is None:
        raise AttributeError(f"module 'dpcdvae.{module}' has no attribute {name!r}")
    home, _, renamed = place.partition(":")
    now = f"dpcdvae.{home}.{renamed or name}"
    warnings.warn(f"dpcdvae.{module}.{name} is now {now}", DeprecationWarning, stacklevel=3)
    return getattr(import_module(f"dpcdvae.{home}"), renamed or name)


def getter(module: str):
    "Make a module's `__getattr__`."
    return lambda name: find(module, name)


class OldModules(MetaPathFinder, Loader):
    "Make modules that are no longer there."

    def find_spec(self, fullname, path=None, target=None):
        package, _, module = fullname.partition(".")
        if package != "dpcdvae" or module not in old_names() or (Path(__file__).parent / module).is_dir():
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__getattr__ = getter(module.__name__.partition(".")[2])


def install() -> None:
    "Serve the modules that are no longer there."
    if not any(isinstance(f, OldModules) for f in sys.meta_path):
        sys.meta_path.insert(0, OldModules())
