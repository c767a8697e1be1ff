"""``counting_algo`` is found by name, as an algorithm of a third party would be."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
