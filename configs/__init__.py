"""Presets: the YAML files that ``rllib train --config NAME`` finds by name."""

if __name__ == "configs":
    raise ImportError("this folder is the package rllib.configs; import it by that name")
