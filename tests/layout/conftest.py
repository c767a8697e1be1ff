"""``sleeping_env`` is imported by its name, here and in actors."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
