"""``rllib doctor``: whether this machine is fit for training, and what to do where it is not.

facts      one function per subject; each yields findings and changes nothing
leftovers  what runs that were killed have left, and its removal
trial      a short trial of the runtime and of training, with what may be expected
"""
