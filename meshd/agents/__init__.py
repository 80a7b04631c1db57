"""Agents: whatever does the work, behind one port (`meshd.ports.Agent`).

    guarded    one agent, of whatever kind, that takes nothing else with it when its adapter breaks
    adapters   the table: a kind of agent -> what builds it
      ├─ python   one worker process a slot; `worker` is what runs in each
      ├─ stdio    one child process for all slots
      ├─ mcp      one `bridge` to an MCP server for all slots; `sieve` and `tools` name what it offers
      └─ http     a service that runs by itself; `exchange` asks it, `answers` reads what it says
    hosted     the agent as the daemon sees it: chooses a seat for each task
      └─ seat     keeps one child up: start, crash, backoff, give up
           ├─ pipe     the conversation with it: tasks, answers, requests, cancels
           └─ child    the process itself: group, limits, stderr, end; `launch` runs in it first
    reaper     ends those groups when the daemon dies or stands still; `reap` is its process
    folder     which manifests stand there now; a look finds what changed
      └─ manifest   what an operator declares; `schemas` checks values, `remote` URLs and secrets

A python worker speaks the same pipe as any stdio agent, on descriptors of its own.
"""
