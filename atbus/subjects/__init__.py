"""
Publish and subscribe: which subjects match, who is interested, where a publication goes.

`pattern` says what a subject is, `index` finds the patterns that match one, `interest` keeps what
each neighbor has told of its side of the bus and says what it is to be told of ours, `distribution`
decides for one publication, `duplicates` recognizes what came before. Nothing here does I/O.
"""
