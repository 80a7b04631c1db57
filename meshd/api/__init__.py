"""The HTTP API of one node, on a unix socket and on loopback TCP.

    connection ─▶ guards ─▶ routes ─▶ Backend ─▶ (the engine)
        │            │         │
      deadlines   who may   `schemas` in and out; `problems` for everything that is refused

`routes.ROUTES` is the one declaration of what can be asked: the router, the checks of query and
body, and the OpenAPI document are made from it. `backend.Backend` is what the daemon must offer;
`events` streams what happens; `server.Api` listens and says where.
"""
