"""Environments: one step schema for every vector backend (gymnasium)."""

if __name__ == "envs":
    raise ImportError("this folder is the package rllib.envs; import it by that name")
