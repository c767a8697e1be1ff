"""``rllib train --dry-run``: what a run would be, in seconds and without leaving anything behind.

probe      the algorithm as it is, in this process: shapes, parameters, a short measurement
forecast   ... and what that comes to with the layout that is wanted: speed, memory, disk
report     in words; the only part that prints
"""
