"""The daemon: everything that waits, so that `protocol` need not.

    cli ─▶ api ─▶ engine ─▶ Node.handle ─▶ perform ─▶ transport, store, agents, observe
                    ▲                                      │
                    └────────── inputs ◀───────────────────┘

`engine` owns the node and is its only caller; `perform` carries out effects; `ports` says what
a transport, a store and an agent adapter must do; `app` puts it all together.
"""
