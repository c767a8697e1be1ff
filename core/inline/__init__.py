"""Engine 1: everything in the calling process, serial and deterministic.

A call runs to its end inside ``.remote()``; its reference is ready when it returns. Values take
the same way through serialisation as on the other engines, so that what works here works there:
arguments are copies, arrays come back read-only. What a serial engine cannot mean is that a call
waits for another one that has not been made yet; such a call fails and says so.

::

    runtime   the verbs, and how the parts below are put together
    executor  runs calls: their retries, their environment, what they come to
    jobs      what runs, where, and how often it is tried
    actors    instances, their names, their deaths
    streams   generators, driven by whoever takes their results
    objects   references that hold their value, or the error instead of it
    groups    placement groups, by the rules of the native engine
"""
