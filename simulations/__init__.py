"""A virtual world that drives `protocol/` unchanged: one seed, one heap, no clock.

    scenario ─▶ world ─▶ hosts ─▶ protocol.node.Node            what is tested
                  │        │
                  │        ├─ broker ── network                 who hears whom, and when
                  │        ├─ store ─── network                 the record: compare-and-set, late and lost answers
                  │        └─ agents                            work that takes a drawn time
                  ├─ faults, people, work                       what is done to the mesh, said in it, and asked of it
                  └─ trace, checks ─▶ verdict, report           what was seen, and whether it may be

Everything random comes from streams keyed by (seed, node, purpose), so that a fault taken out of a
scenario moves nobody else's dice. The same scenario and seed give the same digest, on any machine.
"""
