"""Real daemons, a real nats-server, real kills: everything on loopback, in directories that the tests make."""
