"""State on disk: written whole or not at all, read without executing anything.

tree         state as nested dicts; tensors apart from the JSON around them
rows         ... and rows that never change, in files that checkpoints share
checkpoint   ... as a folder with a manifest that seals it
snapshot     everything that a checkpoint is to hold, copied
components   names of parts of state trees, as RLlib has them
declared     state of the user's own, against what its objects tell
folder       the checkpoints of a run: which is the latest, which may go
remote       ... and the same on another file system
"""
