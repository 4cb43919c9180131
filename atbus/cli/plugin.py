"""
What ``twistd`` loads for ``twistd atbus``: `atbus.cli.twistd`, and with it all that a node is.

Nobody else loads this file: the process's collector of garbage is off meanwhile, and its signals
do what is right before there is a node.
"""

from __future__ import annotations

from atbus.cli.early_signals import end_when_interrupted, keep_for_the_node
from atbus.cli.lasting_objects import collect_from_now_on, put_off_collecting

end_when_interrupted()
keep_for_the_node()
put_off_collecting()
try:
    from atbus.cli.twistd import Options, makeService  # noqa: F401  # their names are looked up
finally:
    collect_from_now_on()
