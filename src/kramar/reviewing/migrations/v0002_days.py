"""Photos whose days are over are found by an index."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""
    op.create_index("photos_keep_until", "photos", ["keep_until"])
