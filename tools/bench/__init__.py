"""How fast the package is, as ratios taken side by side: `make bench`.

Each module measures one matter and gives lines for the one table: converge (a hook, a start, a first converge),
transaction (a whole installation), gap (how long an upgrade leaves the port without a listener), relay (the reference
catcher's throughput and handshakes). growth and fleet answer how time grows with cells and hosts, at a word only.
measure has the rounds and the table, machines what is measured in.
"""
