"Diffusion models of crystals; a name loads its module when first used, so that importing stays light."

from dpcdvae import _aliases

__version__ = "0.1.0"

_HOME = dict(
    CrystalBatch="crystal.batch",
    toy="crystal.batch",
    load_crystals="data.datasets",
    NoiseSchedule="diffusion.schedules",
    Trajectory="diffusion.trajectory",
    DPCDVAE="model.dpcdvae",
    train="model.training",
    evaluate="evaluation.evaluate",
    view="viz.view",
    compare="viz.pair",
)
__all__ = [*_HOME, "__version__"]


def __getattr__(name):
    if name in _aliases.TOP:
        return _aliases.find(_aliases.TOP[name], name)
    if name not in _HOME:
        raise AttributeError(f"module 'dpcdvae' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"dpcdvae.{_HOME[name]}"), name)


def __dir__():
    return __all__


_aliases.install()
