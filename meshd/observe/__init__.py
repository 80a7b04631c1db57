"""Readers of events: what happened is said once, by the core, and each reader makes something else of it.

Emit(event) ─┬▶ logs      one line each, on stderr
             ├▶ audit     records on disk, which an award, a run and the answer to a submit wait for
             ├▶ metrics   counters and gauges for /metrics
             ├▶ stream    the last of them, for who follows /v1/events
             └▶ outlet    to the other nodes, whose `listening` puts them into their own streams
"""
