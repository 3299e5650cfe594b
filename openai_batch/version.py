"""The version of this package. It is imported only when it is needed, since finding it takes time."""

from importlib import metadata

try:
    __version__ = metadata.version("openai-batch")
except metadata.PackageNotFoundError:
    __version__ = "unknown"
