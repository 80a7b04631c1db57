"""The kind `python`: typed functions of an `meshd.sdk.Agent`, one worker process a slot.

A crash, a cancel or a busy loop touches the one task of its worker and no other; see `worker`.
"""

import sys
from pathlib import Path

import meshd
from meshd.agents.hosted import HostedAgent
from meshd.agents.manifest import Manifest, memory_bytes
from meshd.agents.reaper import Reaper
from meshd.agents.seat import Manner, Patience
from meshd.ports import AgentWatcher
from meshd.supervise import Supervisor

# The worker runs the code of this daemon, also from a source tree that is not installed.
_START = (
    "import sys; ours = sys.argv.pop(1); ours in sys.path or sys.path.insert(0, ours); "
    "from meshd.agents.{module} import main; main()"
)


def ours(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs `main` of a module beside this one."""
    return (
        sys.executable,
        "-P",
        "-c",
        _START.format(module=module),
        str(Path(meshd.__file__).parent.parent),
        *arguments,
    )


def build(
    manifest: Manifest,
    on_change: AgentWatcher,
    supervisor: Supervisor,
    reaper: Reaper,
    patience: Patience | None = None,
) -> HostedAgent:
    """The agent, not yet started."""
    limit = str(manifest.limits.output_bytes)
    return HostedAgent(
        manifest,
        command=ours("worker", str(manifest.run), limit, *manifest.capabilities, *manifest.topics),
        memory_bytes=memory_bytes(manifest),
        slots_of_seats=(1,) * manifest.slots,
        manner=Manner(says_ready=True),
        on_change=on_change,
        supervisor=supervisor,
        reaper=reaper,
        patience=patience or Patience(),
    )
