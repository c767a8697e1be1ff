"""Names in the results that have a meaning to several parts."""

DEFAULT_AGENT_ID = "default_agent"
"""RLlib's name of the agent of an environment that has one."""
ALL_MODULES = "__all_modules__"
"""In the place of a module's id: all of them together."""
