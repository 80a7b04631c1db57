"""The kind `stdio`: any command that reads tasks from stdin and writes answers to stdout; see `pipe`.

One process has all the slots: an agent that declares several works on several tasks at once.
"""

from meshd.agents.hosted import HostedAgent
from meshd.agents.manifest import Manifest
from meshd.agents.reaper import Reaper
from meshd.agents.seat import Patience
from meshd.ports import AgentWatcher
from meshd.supervise import Supervisor


def build(
    manifest: Manifest,
    on_change: AgentWatcher,
    supervisor: Supervisor,
    reaper: Reaper,
    patience: Patience | None = None,
) -> HostedAgent:
    """The agent, not yet started."""
    first, *rest = manifest.command
    if "/" in first:
        first = str(manifest.folder / first)
    return HostedAgent(
        manifest,
        command=(first, *rest),
        slots_of_seats=(manifest.slots,),
        says_ready=False,
        on_change=on_change,
        supervisor=supervisor,
        reaper=reaper,
        patience=patience or Patience(),
    )
