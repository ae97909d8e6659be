"""The questions of the admin contract, one module per noun; importing this package registers all of them."""

from jinbao.appliance.questions import capture as capture
from jinbao.appliance.questions import report as report
from jinbao.appliance.questions.registry import QUESTIONS, Answer, Asked, dispatch

__all__ = ["QUESTIONS", "Answer", "Asked", "dispatch"]
