"""Tasks, actors and objects."""
if __name__ == "core":
    raise ImportError("this folder is the package rllib.core; import it by that name")
