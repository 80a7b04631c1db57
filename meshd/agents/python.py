"""The kind `python`: typed functions of an `meshd.sdk.Agent`, one worker process a slot.

A crash, a cancel or a busy loop touches the one task of its worker and no other; see `worker`.
"""

import sys
from pathlib import Path

import meshd
from meshd.agents.hosted import HostedAgent
from meshd.agents.manifest import Manifest
from meshd.agents.reaper import Reaper
from meshd.agents.seat import Patience
from meshd.ports import AgentWatcher
from meshd.supervise import Supervisor

# The worker runs the code of this daemon, also from a source tree that is not installed.
_START = (
    "import sys; ours = sys.argv.pop(1); ours in sys.path or sys.path.insert(0, ours); "
    "from meshd.agents.worker import main; main()"
)


def build(
    manifest: Manifest,
    on_change: AgentWatcher,
    supervisor: Supervisor,
    reaper: Reaper,
    patience: Patience | None = None,
) -> HostedAgent:
    """The agent, not yet started."""
    ours = str(Path(meshd.__file__).parent.parent)
    limit = str(manifest.limits.output_bytes)
    return HostedAgent(
        manifest,
        command=(sys.executable, "-P", "-c", _START, ours, str(manifest.run), limit, *manifest.capabilities),
        slots_of_seats=(1,) * manifest.slots,
        says_ready=True,
        on_change=on_change,
        supervisor=supervisor,
        reaper=reaper,
        patience=patience or Patience(),
    )
