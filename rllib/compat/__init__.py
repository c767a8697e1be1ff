"""RLlib's scripts run here: its import paths, its names, and what there is instead of the rest.

``import_hook`` finds the paths, ``table`` says where each name leads.
"""
