"""Names in the results that have a meaning to several parts."""

ALL_MODULES = "__all_modules__"
"""In the place of a module's id: all of them together."""
