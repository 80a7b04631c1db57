"""The kind `stdio`: any command that reads tasks from stdin and writes answers to stdout; see `pipe`.

One process has all the slots: an agent that declares several works on several tasks at once.
"""

from meshd.agents.hosted import HostedAgent
from meshd.agents.manifest import Manifest, memory_bytes
from meshd.agents.reaper import Reaper
from meshd.agents.seat import Manner, Patience
from meshd.ports import AgentWatcher
from meshd.supervise import Supervisor


def command_of(manifest: Manifest) -> tuple[str, ...]:
    """`run`, with a path in its first word read from the manifest's folder."""
    first, *rest = manifest.command
    return (str(manifest.folder / first) if "/" in first else first, *rest)


def build(
    manifest: Manifest,
    on_change: AgentWatcher,
    supervisor: Supervisor,
    reaper: Reaper,
    patience: Patience | None = None,
) -> HostedAgent:
    """The agent, not yet started."""
    return HostedAgent(
        manifest,
        command=command_of(manifest),
        memory_bytes=memory_bytes(manifest),
        slots_of_seats=(manifest.slots,),
        manner=Manner(),
        on_change=on_change,
        supervisor=supervisor,
        reaper=reaper,
        patience=patience or Patience(),
    )
