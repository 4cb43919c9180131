"""
Who is where, who may register here, and what becomes of a message on its way.

Everything in this package decides and nothing in it acts: no sockets, no clock, no randomness.

- Who is where: `interfaces` holds the contract of a router, `relation` its words, `table` the tree
  of static subnets with `subnet_index` below it.
- Who may register: `applicant` holds the values, `admission` the checks, `auto_id` the ids for
  nodes without one, `dial_plan` which of the possible channels are made.
- Messages on their way: `pending`, `fragments`, `custody`, `answers` and `change`.
- Whether a neighbor lives, and when to try again: `liveness` and `backoff`.
"""
