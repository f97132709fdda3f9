"""How fast the package is, as ratios taken side by side: `make bench`.

Each module measures one thing and returns lines of the table: converge (a hook, a start, a first converge), transaction
(a whole installation), gap (how long an upgrade leaves the port without a listener), relay (the reference catcher's
throughput and handshakes). growth and fleet show how the time grows with cells and hosts; they run only on request.
measure has the rounds and the table, machines has the machines.
"""
