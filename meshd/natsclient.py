"""A client of NATS that always comes to its end: who waits for that is told, and none of its tasks is left.

Invariant: what a connection had not sent when it ended is not sent, as nobody is there to take it. nats-py tries
once more, in whichever of its background tasks saw the end; that fails after a reset, and what was left to do is
not done: the callbacks, the subscriptions' tasks. Neighbours: `transport` and `store` have one for each connection.
"""

from nats.aio.client import Client


class NatsClient(Client):
    """One connection. Its `closed_cb` is called however it ends."""

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)
