"""Files to start from: ``rllib init`` and ``rllib new-algo`` write them, ready to run.

write      what is written for whom, and what is refused
files/     the templates, in the syntax of ``string.Template``
"""
