"""Installation: see pyproject.toml for the metadata and requirements/ for the pinned dependencies."""

from setuptools import setup

setup()
