"""Where hard state lives: one bucket of keys, changed by compare-and-set only.

`jetstream` keeps it in a JetStream stream (the real one), `memory` in this process (tests and
meshes of one without a disk). Both pass the suite in `tests/contracts/`. `keys` says what both
take: a key is up to four tokens, a value at most one frame.
"""
