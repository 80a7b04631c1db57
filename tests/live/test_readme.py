"""What the README shows, pasted into shells: it works as it stands there."""

import os
import re
from pathlib import Path

import pytest

from tests.live.hosts import SCRIPTS, Host, told
from tests.live.network import missing, network

pytestmark = pytest.mark.live

README = Path(__file__).parents[2] / "README.md"


def _shell_blocks(heading: str) -> list[str]:
    _, _, section = README.read_text().partition(f"## {heading}\n")
    return re.findall(r"^```sh\n(.*?)^```$", section.partition("\n## ")[0], flags=re.DOTALL | re.MULTILINE)


async def test_the_first_agents_of_the_readme_work_when_they_are_pasted(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    env = {"MESHD_DIR": str(host.dir), "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    blocks = _shell_blocks("Your first agent in ten lines")
    assert len(blocks) == 2
    assert len(blocks[0].splitlines()) == 10
    try:
        await host.start()
        said = await told(["bash", "-e", "-c", "\n".join([f"cd {tmp_path}", *blocks])], env=env)
        assert said.code == 0, said
        assert said.out.splitlines().count('"HELLO"') == 2, said
        assert said.out.splitlines()[-1] == "3", said
        assert "warning" not in said.err
        status = await host.tell("status")
        assert status.code == 0, status
        named = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| `.*?\|", README.read_text(), flags=re.MULTILINE)))
        assert {each.name for each in host.dir.iterdir()} <= {name.rstrip("/") for name in named}
    finally:
        await host.close()


@pytest.mark.skipif(bool(missing()), reason=missing())
async def test_the_three_hosts_of_the_readme_are_one_mesh_when_it_is_pasted_on_each(tmp_path: Path) -> None:
    blocks = _shell_blocks("Three hosts in five minutes")
    where = "a", "b", "c", "b"
    assert len(blocks) == len(where)
    (tmp_path / "carried").mkdir()
    async with network("a", "b", "c") as net:
        hosts = {name: Host(tmp_path, name, net.inside(name)) for name in "abc"}
        try:
            for name, block in zip(where, blocks, strict=True):
                env = {"MESHD_DIR": str(hosts[name].dir), "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
                if block == blocks[-1]:
                    for host in hosts.values():
                        await host.sees(a="alive", b="alive", c="alive")
                pasted = f"cd {tmp_path / 'carried'}\n{block}"
                said = await told([*net.inside(name), "bash", "-e", "-c", pasted], env=env)
                assert said.code == 0, (block, said)
            assert said.out.split() == ["a", "b", "c"]
        finally:
            for host in reversed(hosts.values()):
                await host.close()
