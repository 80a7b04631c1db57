"""Core messaging, at most once: subjects, wildcards, and the broker's word that nobody listens.

`nats` is the real one, `memory` a broker in this process for tests. Both pass the suite in
`tests/contracts/`. `subjects` says what both take.
"""
