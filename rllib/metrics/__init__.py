"""Numbers about training, from wherever they arise to the result of one iteration."""
