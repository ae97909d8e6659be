"""The questions of the admin contract, one module per noun; importing this package registers all of them."""

from jinbao.appliance.questions import audit as audit
from jinbao.appliance.questions import backup as backup
from jinbao.appliance.questions import capture as capture
from jinbao.appliance.questions import database as database
from jinbao.appliance.questions import decision as decision
from jinbao.appliance.questions import divergence as divergence
from jinbao.appliance.questions import doctor as doctor
from jinbao.appliance.questions import evidence as evidence
from jinbao.appliance.questions import journal as journal
from jinbao.appliance.questions import library as library
from jinbao.appliance.questions import line as line
from jinbao.appliance.questions import plan as plan
from jinbao.appliance.questions import promotion as promotion
from jinbao.appliance.questions import proof as proof
from jinbao.appliance.questions import quarantine as quarantine
from jinbao.appliance.questions import renewal as renewal
from jinbao.appliance.questions import report as report
from jinbao.appliance.questions import standby as standby
from jinbao.appliance.questions import status as status
from jinbao.appliance.questions import trust as trust
from jinbao.appliance.questions.gate import dispatch
from jinbao.appliance.questions.registry import QUESTIONS, Answer, Asked

__all__ = ["QUESTIONS", "Answer", "Asked", "dispatch"]
