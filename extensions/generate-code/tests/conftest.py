"""Makes the modules of all players importable: the pipeline is tested as a whole here."""

import sys
from pathlib import Path

EXTENSIONS = Path(__file__).resolve().parents[2]
for name in ("enhance-prompt", "extract-features", "generate-code", "run-tests", "deliver"):
    folder = str(EXTENSIONS / name)
    if folder not in sys.path:
        sys.path.insert(0, folder)
