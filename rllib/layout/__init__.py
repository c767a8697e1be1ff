"""Who does what: ``layout="auto"`` places env runners, environments and learner by what they cost.

costs      what an env step and an update take, measured in this process for half a second
decide     ... and what follows from that for so many cores: a pure function, with its reasons
choose     settings in, settings out; whatever the user has set himself stays
"""
