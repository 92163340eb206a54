"""The versions of installed packages, for what a result was made with."""

import contextlib
import importlib.metadata

FAIRSEQ = ("ve-fairseq", "fairseq-fixed")  # the same code: prebuilt for some platforms, and as source


def package_version(name: str) -> str:
    """The version of an installed package, or "not installed"; of ``fairseq``, with the name of its package."""
    for packaged in FAIRSEQ if name == "fairseq" else (name,):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(packaged)
            return f"{packaged} {version}" if name == "fairseq" else version
    return "not installed"
