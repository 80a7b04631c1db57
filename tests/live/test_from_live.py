"""The mesh of real daemons in the simulator: what they have in hand is played, and nothing is done to them."""

import asyncio
import json
from pathlib import Path

import pytest

from simulations.scenario import named
from tests.live.hosts import Host

pytestmark = pytest.mark.live


async def test_a_live_mesh_of_three_is_asked_what_a_cut_between_its_regions_would_do(tmp_path: Path) -> None:
    hosts = {name: Host(tmp_path, name) for name in "abc"}
    try:
        for name in "bc":
            hosts[name].agent(slots=1)
        a = hosts["a"]
        await a.start("--region", "east")
        _, token = await a.meshctl("invite", "-o", "name")
        joining = {"b": "east", "c": "west"}
        flags = {name: ("--join", token.strip(), "--region", region) for name, region in joining.items()}
        await asyncio.gather(*(hosts[name].start(*flags[name]) for name in joining))
        await a.sees(a="alive", b="alive", c="alive")
        first, second = [await a.submit(input={"s": 60}) for _ in range(2)]
        for task in (first, second):
            await a.until_state(task["id"], "running")
        kept = tmp_path / "kept.toml"
        words = ("--cut", "region:east,region:west@5s", "--run", "60s", "--save", str(kept))
        said = await a.tell("sim", "from-live", *words, "-o", "json")
        assert said.code == 0, said.err
        told = json.loads(said.out)
        assert (told["nodes"], told["tasks"], told["seen_by"]) == (3, 2, "a")
        assert told["faults"][0].startswith("at 5 s: cut to the end: a, b | c; the one server is on a")
        assert {(notice["node"], notice["what"]) for notice in told["notices"]} >= {("c", "suspect"), ("c", "dead")}
        assert (told["one_view_s"], told["lacking"]) == (None, "a sees as alive: a, b")
        owners = {task["id"]: (await a.task(task["id"]))["owner_name"] for task in (first, second)}
        [at_c] = [task for task, owner in owners.items() if owner == "c"]
        assert (told["moves"], told["waiting"]) == ([], [at_c]), "b has one slot, and it is taken"
        assert named(str(kept)).regions == {"east": ("n1-n2",), "west": ("n3",)}, "so that bridges are played"
        ran = await a.tell("sim", "run", str(kept), "--once")
        assert (ran.code, "3 nodes" in ran.out) == (0, True), ran
        assert (await a.task(at_c))["state"] == "running", "the live mesh was only asked"
        await a.sees(b="alive", c="alive")
    finally:
        for host in hosts.values():
            await host.close()
