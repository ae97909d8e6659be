"""The demonstration: a real three-tier network on this machine, and the proof of what arrived.

Ministry, province and two cities; every zone its own process, certificate, private
directory and database, SQLite or PostgreSQL. At the end every zone is restarted and asked for digests of the rows
it stored: what arrived is what left, or the run fails naming tier, table and keys.
"""

from jinbao.appliance.demo.loss import lose
from jinbao.appliance.demo.processes import DemoNetwork, attach, kill
from jinbao.appliance.demo.proof import conclude
from jinbao.appliance.demo.rotation import revoke, rotate_root
from jinbao.appliance.demo.run import run_demo
from jinbao.appliance.demo.tamper import tamper

__all__ = ["DemoNetwork", "attach", "conclude", "kill", "lose", "revoke", "rotate_root", "run_demo", "tamper"]
