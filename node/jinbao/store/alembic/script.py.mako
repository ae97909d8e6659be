"""${message}"""

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}
release = ""
step = "expand"
runs_on = ""


def upgrade() -> None:
    """Expand."""
    ${upgrades if upgrades else "pass"}
