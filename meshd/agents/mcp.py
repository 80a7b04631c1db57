"""The kind `mcp`: each tool of an MCP server is a capability; the server is a command, or stands at a URL.

The client runs in a process of its own, `bridge`: its library weighs more than the daemon, and what a server
says is parsed where it can stall nobody. To the daemon a bridge is a worker like that of a python agent.
Neighbours: `tools` says which tool becomes which capability, `manifest` refuses the kind without its extra.
"""

import msgspec

from meshd.agents.hosted import HostedAgent
from meshd.agents.manifest import Manifest, memory_bytes
from meshd.agents.python import ours
from meshd.agents.reaper import Reaper
from meshd.agents.seat import Manner, Patience
from meshd.agents.stdio import command_of
from meshd.agents.tools import BridgePlan
from meshd.ports import AgentWatcher
from meshd.supervise import Supervisor

BRIDGE_BYTES_MAX = 1 << 30  # a bridge that grows beyond is ended: its server says more than anybody can use


def build(
    manifest: Manifest,
    on_change: AgentWatcher,
    supervisor: Supervisor,
    reaper: Reaper,
    patience: Patience | None = None,
) -> HostedAgent:
    """The agent, not yet started."""
    patience = patience or Patience()
    if manifest.url:  # a service that is away comes back, however long that takes
        patience = msgspec.structs.replace(patience, crashes_max=1 << 30)
    plan = BridgePlan(
        run=command_of(manifest) if manifest.command else (),
        url=manifest.url,
        token_file=manifest.token_file,
        headers_file=manifest.headers_file,
        capabilities=manifest.capabilities,
        memory_bytes=memory_bytes(manifest),
        output_bytes_max=manifest.limits.output_bytes,
        connect_s=manifest.limits.connect_s,
    )
    return HostedAgent(
        manifest,
        command=ours("bridge", msgspec.json.encode(plan).decode()),
        memory_bytes=BRIDGE_BYTES_MAX,
        slots_of_seats=(manifest.slots,),
        manner=Manner(says_ready=True, may_go_on=True, may_come_later=bool(manifest.url)),
        on_change=on_change,
        supervisor=supervisor,
        reaper=reaper,
        patience=patience,
    )
