"""The doctor 体检: sixteen things that keep a node from working, each looked at by a module of its own.

Looks at a node whether its zones run or not, says what it expected and what it got, and names the command that
mends it. Changes nothing but in `repair`, and there only what is safe.
"""
