"""What an owner says when it is asked about tasks, and whom it believes that one of them is over.

Invariant: a watcher is believed at once; anybody else only makes the owner read the record.
Pure leaf of `holder`; `grants` says what is in hand, and who watches it.
"""

from protocol import ids, limits
from protocol.effects import Effect, Read, Send
from protocol.grants import CHECK_S, Grant, Grants
from protocol.primitives import Instant, NodeId
from protocol.wire.task import Answer, Ask, Running


class Answering:
    """The owner's words about what it has in hand."""

    def __init__(self, grants: Grants) -> None:
        self._grants = grants

    def on_ask(self, sender: NodeId, life: int, body: Ask, now: Instant) -> list[Effect]:
        """Say what of this is in hand; stop what the ask shows as stale."""
        running: list[Running] = []
        ended: list[str] = []
        unknown: list[str] = []
        effects: list[Effect] = []
        room = limits.ANSWER_PROGRESS_BYTES_MAX
        for line in body.held[: limits.TASKS_PER_ASK_MAX]:
            grant = self._grants.get(line.task)
            is_watcher = grant is None or self._grants.is_watched_by(sender, grant, now)
            given_back = self._grants.given_back(line.task, line.epoch)
            if grant is not None and grant.record.epoch == line.epoch:
                if is_watcher:
                    grant.named_by(sender, life, now)
                progress = grant.progress if len(grant.progress) <= room else b""
                room -= len(progress)
                running.append(Running(line.task, line.epoch, grant.started_ms, progress))
            elif grant is not None and grant.record.epoch > line.epoch:
                ended.append(line.task)  # the asker is behind: it should read the record
            elif self._grants.has_ended(line.task, line.epoch):
                ended.append(line.task)
                effects.append(Read(ids.task_key(line.task)))  # an end that does not stand there is put back
            elif given_back is not None:
                effects.append(Send(to=sender, life=life, body=given_back))
            else:
                effects += self.told_over(line.task, sender, now)
                unknown.append(line.task)
        answer = Answer(body.round, tuple(running), tuple(ended), tuple(unknown))
        return [*effects, Send(to=sender, life=life, body=answer), *self._unnamed(sender, body, now)]

    def _unnamed(self, sender: NodeId, body: Ask, now: Instant) -> list[Effect]:
        """Tasks whose watcher no longer names them may be over: look at their records."""
        if len(body.held) >= limits.TASKS_PER_ASK_MAX:
            return []  # one page of several
        named = {line.task for line in body.held}
        effects: list[Effect] = []
        for grant in self._grants:
            task = grant.record.id
            is_due = now.since_s(grant.checked) >= CHECK_S and grant.ending is None
            if grant.watcher == sender and task not in named and is_due:
                grant.checked = now.mono_ns
                effects.append(Read(ids.task_key(task)))
        return effects

    def told_over(self, task: str, sender: NodeId, now: Instant) -> list[Effect]:
        """It is not ours any more, says somebody."""
        grant = self._grants.get(task)
        if grant is None or self._grants.is_watched_by(sender, grant, now):
            return self._grants.outdated(task, now)
        return self.doubted(grant, sender, now)

    def doubted(self, grant: Grant, sender: NodeId, now: Instant) -> list[Effect]:
        """Whoever need not know is not believed: the record is."""
        may_look = grant.ending is None and grant.doubt.raised(sender, now)
        return [Read(ids.task_key(grant.record.id))] if may_look else []
