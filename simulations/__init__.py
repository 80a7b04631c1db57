"""A virtual world that drives `protocol` unchanged: simulated hosts, links, broker and disks, all from one seed."""
