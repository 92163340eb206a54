"""Versions of installed packages, recorded with each result."""

import contextlib
import importlib.metadata

FAIRSEQ = ("ve-fairseq", "fairseq-fixed")  # the same code: prebuilt wheels for some platforms, and source


def package_version(name: str) -> str:
    """The version of an installed package, or "not installed"; for ``fairseq``, the package's name comes first."""
    for packaged in FAIRSEQ if name == "fairseq" else (name,):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(packaged)
            return f"{packaged} {version}" if name == "fairseq" else version
    return "not installed"
