"""The embedded nats-server: found, configured, started or adopted, watched and stopped.

    binary ─▶ config ─▶ server          probe: does it answer, and is it ours?   disk: is there room?

The server is a process of its own that outlives the daemon: the next daemon on the same
directory adopts it, and only a wanted stop ends it.
"""
