"""Alembic's migrations, one file a step; `head.sql` is where they all lead, for a store that is new."""
