"""The comparison study is a package, imported as its steps import it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "experiments"))
