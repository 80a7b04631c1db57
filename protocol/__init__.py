"""The mesh as values and state machines: no clock, socket, task, lock, log or randomness source.

    inputs.py ─▶ Node.handle(input, now) ─▶ effects.py        (node.py: the only switchboard)
                    │
                    ├─ envelope   opens and seals frames; a refusal is a value
                    ├─ membership, gossip, catalogue          who is there and what they can do (soft state)
                    ├─ task ledger (home), holder (owner)     who does what (hard state: compare-and-set)
                    └─ events     what happened, said once

The README beside this file is the wire specification.
"""
