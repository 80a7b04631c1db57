"""Readers of events: what happened is said once, by the core, and shown here in four ways.

Emit(event) ─┬▶ logs      one line each, on stderr
             ├▶ metrics   counters and gauges for /metrics
             ├▶ stream    the last of them, for who follows /v1/events
             └▶ outlet    to the other nodes, whose `listening` puts them into their own streams
"""
