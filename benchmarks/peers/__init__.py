"""Other systems beside ours: each is a program that runs in an environment of its own.

A program takes the name of a row and a number of seconds, trains for about as long with the row's
settings, and prints ``{"env_steps": ..., "seconds": ...}`` as its last line: training alone,
without imports and start. For the row ``time_to_475`` it trains until the mean return of 100
episodes is 475, and prints ``{"training_seconds": ...}``; the caller measures what it all takes.
"""
