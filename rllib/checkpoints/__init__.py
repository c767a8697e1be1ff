"""State on disk: written whole or not at all, read without executing anything.

tree         state as nested dicts; tensors apart from the JSON around them
checkpoint   ... as a folder with a manifest that seals it
folder       the checkpoints of a run: which is the latest, which may go
"""
