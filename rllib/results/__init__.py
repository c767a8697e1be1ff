"""What runs have come to: playing their policies, comparing them, and showing it.

saved        a run's folder as others read it: config, results, checkpoints
statistics   interquartile means, bootstrap intervals, probability of improvement
play         episodes of a trained policy, one by one, each with a seed of its own
evaluate     ... so many of them, in numbers
video        ... as tiles of one film; ``enjoy``: in a window where there is a screen
curves       runs, or all seeds of one, on a common axis
compare      ... beside each other, in figures; ``chart``, ``page``, ``picture``: to look at
"""
