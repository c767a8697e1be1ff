"""What to say of a name that RLlib has, or never had, and that stands in no table here.

The tables name what scripts import. RLlib has ten times as many names, most of them its own parts:
for those a pattern says what there is instead.
"""

import re
import sys
from difflib import get_close_matches

from rllib.compat.table import (
    ABSENT_NAMES,
    ALIASES,
    NETWORKS,
    OLD_STACK,
    OWN_CONNECTOR,
    OWN_LEARNER,
    STILL_TO_COME,
)

_KINDS = {
    r"tf_|_tf\b|TF|jax|JAX": "networks are torch's",
    r"exploration": "exploration is a module's forward_exploration; epsilon, noisy and others are "
    "settings of training()",
    r"[Pp]olicy|policies|Mixin|Batch|rllib\.(evaluation|execution|models)\b": f"{OLD_STACK}: a "
    "RLModule acts, and the algorithm's learner trains it",
    r"[Cc]atalog|Encoder|Head": NETWORKS,
    r"\b[A-Z_]*(KEY|TIMER|COUNTER|THIS_ITER|LIFETIME|RESULTS)$|rllib\.utils\.metrics": "results "
    "are plain dicts, and print(result) shows their keys",
    r"NotProvided|algorithm_config\.": "a config of your own is a subclass that lists its fields, "
    "as docs/your-own-algorithm.md shows",
    r"rllib\.connectors\b": OWN_CONNECTOR,
    r"[Ll]earner": OWN_LEARNER,
    r"rllib\.(tune|offline)\b|external|offline|Offline": STILL_TO_COME,
    r"rllib\.env\b": "environments are gymnasium's, MultiAgentEnv and PettingZoo's",
    r"": "RLlib's own parts are not ours; docs/coming-from-rllib.md lists what there is",
}
"""Pattern of ``module.name`` -> what there is instead; the first that fits."""


def what_instead(module: str, name: str) -> str:
    """What to say where somebody imports ``name`` from ``module``, and there is none."""
    if name in ABSENT_NAMES.get(module, ()):
        return f"no {name!r} in {module!r}: {ABSENT_NAMES[module][name]}"
    if near := get_close_matches(name, _names_of(module), n=1, cutoff=0.85):
        return f"no {name!r} in {module!r}; did you mean {near[0]!r}?"
    path = f"{module}.{name}"
    kind = next(kind for pattern, kind in _KINDS.items() if re.search(pattern, path))
    return f"no {name!r} in {module!r}: {kind}"


def _names_of(module: str) -> set[str]:
    """Public names of a module that is loaded, RLlib's and ours."""
    ours = getattr(sys.modules.get(module), "__all__", ())
    below = {path.rpartition(".")[2] for path in ALIASES if path.rpartition(".")[0] == module}
    return {*ours, *ALIASES.get(module, {}), *below} - {"*"}
