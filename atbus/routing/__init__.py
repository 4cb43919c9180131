"""
Who is where, what may register here, and what is the next hop.

Everything in this package decides and nothing in it acts: no sockets, no clock, no randomness.
`interfaces` holds the contract of a router, `relation` the words for who stands where,
`table` the tree of static subnets, `admission` the checks of a registration and `dial_plan`
which of the possible channels are made.
"""
