"""Many agents: which module acts for whom, and fragments of their steps."""
