"""``rllib train --profile 30s``: what every process of a run does, by a hundred looks a second.

sampler   in each process: the Python stacks of its threads, and how long each was seen
profile   begins and ends it in all processes of a run, and writes both files
flame     ... a flame graph, one HTML file
trace     ... a trace for chrome://tracing and https://ui.perfetto.dev, with stages and calls

Within the processes, so that it needs neither privileges nor tools, and works on other machines.
What C code does is seen as the line of Python that called it.
"""
