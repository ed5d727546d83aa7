"""The controller: decides which run is created and which doorbell rings next.

`step` is the pure decision; `loop` carries its actions out; `restoring` reads a search back from the
store; `sampling` asks the sampler; `submission` makes a search of a request.
"""
