"""Engine 3: everything is handed to an installed Ray, so that the same code runs on its clusters.

::

    connect   from `init` to a Ray, running or new
    client    to one whose nodes are elsewhere, through Ray Client
    runtime   the verbs, each one call of Ray's API
    options   option records as Ray's keywords
    groups    placement groups and scheduling strategies
    facts     what Ray knows of the calling code and of its actors
    asking    what a driver elsewhere has the cluster tell
    preload   what workers import before anything else
    table     measurements, in an actor
    refs      references, streams and actors: ours around Ray's
    shipping  what Ray's workers run: user code that finds this engine there and tells its errors
    errors    Ray's exceptions as ours

Workers must be able to import ``rllib``: install it on every node, or give Ray the package by
``runtime_env={"py_modules": [...]}``.
"""

try:
    import ray  # noqa: F401
except ImportError as error:
    raise ImportError(
        'address="ray" needs Ray, which is not installed: pip install "rllib-scale[ray]"'
    ) from error
