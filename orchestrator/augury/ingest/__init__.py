"""In from the workers: the report stream is taken into the store, then answered.

`messages` reads the entries, `intake` is what one batch changes in a transaction, `loop` the thread
around it.
"""
