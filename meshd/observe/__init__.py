"""Readers of events: what happened is said once, by the core, and shown here in two ways.

Emit(event) ─┬▶ logs      one line each, on stderr
             └▶ metrics   counters and gauges for /metrics
"""
