"""``rllib train``: one run from the order to the exit code.

session    the runtime around it
run        train, log, save, stop
folder     who may write it, and what may continue it
loggers    results to files; ``progress`` and ``console``: to the eye
signals    Ctrl-C, SIGTERM and the like; ``failures``: what the user is told
"""
