"""Algorithms: one file each, read top to bottom."""

if __name__ == "algorithms":
    raise ImportError("this folder is the package rllib.algorithms; import it by that name")
