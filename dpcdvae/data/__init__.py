"Old names of this folder, for one release (see `dpcdvae._aliases`)."

from dpcdvae._aliases import getter

__getattr__ = getter("data")
