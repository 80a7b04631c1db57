"""The README's first agents, pasted into a shell: they work as they stand there."""

import os
import re
from pathlib import Path

import pytest

from tests.live.hosts import SCRIPTS, Host, told

pytestmark = pytest.mark.live

README = Path(__file__).parents[2] / "README.md"


def _shell_blocks() -> list[str]:
    _, _, section = README.read_text().partition("## Your first agent\n")
    return re.findall(r"^```sh\n(.*?)^```$", section.partition("\n## ")[0], flags=re.DOTALL | re.MULTILINE)


async def test_the_first_agents_of_the_readme_work_when_they_are_pasted(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    env = {"MESHD_DIR": str(host.dir), "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    blocks = _shell_blocks()
    assert len(blocks) == 3
    try:
        await host.start()
        said = await told(["bash", "-e", "-c", "\n".join(blocks)], env=env)
        assert said.code == 0, said
        assert '"HELLO"' in said.out.splitlines(), said
        assert said.out.splitlines()[-1] == "3", said
        assert "warning" not in said.err
        status = await host.tell("status")
        assert status.code == 0, status
    finally:
        await host.close()
