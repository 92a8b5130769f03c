"""Makes the samples of this folder importable: under importlib mode pytest adds no path itself."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
