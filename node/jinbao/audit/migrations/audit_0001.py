"""First tables of the audit room, and the triggers that keep them append-only."""

import sqlalchemy as sa
from alembic import op

revision = "audit_0001"
down_revision = None
branch_labels = ("audit",)
depends_on = None
release = "0.2"
step = "expand"
runs_on = "0.2"

SQLITE = (
    (
        "CREATE TRIGGER audit_entry_no_update BEFORE UPDATE ON audit_entry "
        "BEGIN SELECT RAISE(ABORT, 'audit_entry is append-only'); END"
    ),
    (
        "CREATE TRIGGER audit_entry_no_delete BEFORE DELETE ON audit_entry "
        "WHEN NOT EXISTS (SELECT 1 FROM audit_cut WHERE audit_cut.number >= OLD.number) "
        "BEGIN SELECT RAISE(ABORT, 'audit_entry is append-only above the last cut'); END"
    ),
    # INSERT OR REPLACE deletes without asking the trigger above.
    (
        "CREATE TRIGGER audit_entry_no_replace BEFORE INSERT ON audit_entry "
        "WHEN EXISTS (SELECT 1 FROM audit_entry WHERE audit_entry.number = NEW.number) "
        "BEGIN SELECT RAISE(ABORT, 'audit_entry is append-only'); END"
    ),
    (
        "CREATE TRIGGER audit_cut_no_update BEFORE UPDATE ON audit_cut "
        "BEGIN SELECT RAISE(ABORT, 'audit_cut is append-only'); END"
    ),
    (
        "CREATE TRIGGER audit_cut_no_delete BEFORE DELETE ON audit_cut "
        "BEGIN SELECT RAISE(ABORT, 'audit_cut is append-only'); END"
    ),
    (
        "CREATE TRIGGER audit_cut_no_replace BEFORE INSERT ON audit_cut "
        "WHEN EXISTS (SELECT 1 FROM audit_cut WHERE audit_cut.number = NEW.number) "
        "BEGIN SELECT RAISE(ABORT, 'audit_cut is append-only'); END"
    ),
)

POSTGRESQL = (
    (
        "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$"
    ),
    (
        "CREATE FUNCTION audit_cut_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN IF EXISTS (SELECT 1 FROM audit_cut WHERE number >= OLD.number) THEN RETURN OLD; END IF; "
        "RAISE EXCEPTION 'audit_entry is append-only above the last cut' "
        "USING ERRCODE = 'restrict_violation'; END $$"
    ),
    (
        "CREATE TRIGGER audit_entry_no_update BEFORE UPDATE ON audit_entry "
        "FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
    ),
    (
        "CREATE TRIGGER audit_entry_no_delete BEFORE DELETE ON audit_entry "
        "FOR EACH ROW EXECUTE FUNCTION audit_cut_only()"
    ),
    (
        "CREATE TRIGGER audit_entry_no_truncate BEFORE TRUNCATE ON audit_entry "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
    ),
    (
        "CREATE TRIGGER audit_cut_no_update BEFORE UPDATE OR DELETE ON audit_cut "
        "FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
    ),
    (
        "CREATE TRIGGER audit_cut_no_truncate BEFORE TRUNCATE ON audit_cut "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
    ),
)


def upgrade() -> None:
    """Create the room's tables and their triggers."""
    op.create_table(
        "audit_cut",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("audit_entry_about", "audit_entry", ["about"])
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(statement)
